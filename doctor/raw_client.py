"""The doctor's only I/O: sends raw bytes on a new connection to one target, and reads one response.

Every request ends within `REQUEST_SECONDS` and `_MAX_RESPONSE_BYTES`, whatever the peer does. Redirects are not
followed, and nothing is retried or reused.
"""

import socket
import ssl
import time
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Final

import h11

from doctor.errors import DoctorError
from doctor.messages import NoResponse, Outcome, Request, Response
from doctor.target import Target

REQUEST_SECONDS: Final = 5.0
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_RESPONSE_BYTES: Final = 256 * 1024
# RFC 1918 and RFC 4193. `ipaddress.is_private` also covers ranges that may be routed anywhere.
_PRIVATE_NETWORKS: Final = [
    ip_network(name) for name in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]
_CLOSED: Final = NoResponse("the connection was closed without a response", rejected=True)
_NOT_HTTP: Final = NoResponse("the response is not HTTP/1.1", rejected=False)


class RawHttpClient:
    """A client that sends bytes unchanged. A library client would normalise the malformed requests under test.

    Args:
        target: the only host to connect to. Its name is resolved once.
        tls: for https.
        seconds: the time limit of one request.

    Raises:
        DoctorError: the host is unknown, or must not be contacted without TLS.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext, seconds: float = REQUEST_SECONDS) -> None:
        self._target, self._tls, self._seconds = target, tls, seconds
        self._ip_addresses = _resolve(target)

    def send(self, request: Request) -> Outcome:
        """Send `request` and return the response."""
        deadline = time.monotonic() + self._seconds
        try:
            with self._connect(deadline) as connection:
                _send(connection, request.data)
                return _receive(connection, request.method, deadline)
        except ssl.SSLCertVerificationError as error:
            return NoResponse(f"the certificate is not trusted ({error.verify_message})", rejected=False)
        except TimeoutError:
            return NoResponse(f"no response within {self._seconds:g} s", rejected=False)
        except OSError as error:
            return NoResponse(f"connection failed ({error.strerror or type(error).__name__})", rejected=False)

    def _connect(self, deadline: float) -> socket.socket:
        connection = self._connect_first(deadline)
        if not self._target.secure:
            return connection
        try:
            connection.settimeout(_remaining(deadline))
            return self._tls.wrap_socket(connection, server_hostname=self._target.host)
        except BaseException:
            connection.close()
            raise

    def _connect_first(self, deadline: float) -> socket.socket:
        """Connect to the first reachable IP address, and use only that one from then on."""
        while True:
            try:
                connection = socket.create_connection(
                    (self._ip_addresses[0], self._target.port), _remaining(deadline)
                )
            except OSError:
                if len(self._ip_addresses) == 1:
                    raise
                del self._ip_addresses[0]
            else:
                del self._ip_addresses[1:]
                return connection


def _resolve(target: Target) -> list[str]:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DoctorError("URL: the host name cannot be resolved; check its spelling") from error
    ip_addresses = [str(name[4][0]) for name in found]
    if not target.secure and not all(map(_is_private, ip_addresses)):
        raise DoctorError("URL: plain http to a public IP address would expose the token; use https")
    return ip_addresses


def _is_private(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    return address.is_loopback or any(address in network for network in _PRIVATE_NETWORKS)


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return  # The peer may have rejected the request early; its response can still be read.


def _receive(connection: socket.socket, method: str, deadline: float) -> Outcome:
    """Return the final response or 101, with as much of its body as arrives within the limits."""
    parser, response, body, received = _response_parser(method), None, bytearray(), 0
    try:
        while received <= _MAX_RESPONSE_BYTES:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                connection.settimeout(_remaining(deadline))
                data = connection.recv(65536)
                received += len(data)
                parser.receive_data(data)
            elif isinstance(event, h11.Response | h11.InformationalResponse):
                is_interim = event.status_code < HTTPStatus.OK and event.status_code != HTTPStatus.SWITCHING_PROTOCOLS
                response = None if is_interim else event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
    except TimeoutError:
        if response is None:
            raise
    except (h11.RemoteProtocolError, OSError):
        if response is None:
            return _NOT_HTTP if received else _CLOSED
    if response is None:
        return NoResponse("the response head is too long", rejected=False)
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers)
    return Response(response.status_code, fields, bytes(body))


def _remaining(deadline: float) -> float:
    """Return the seconds left. Never 0, because a socket timeout of 0 means non-blocking."""
    return max(deadline - time.monotonic(), 0.001)


def _response_parser(method: str) -> h11.Connection:
    # h11 rejects malformed requests, so it gets a plain one, which allows 101, and parses only the response.
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    offers = [("Host", "gateway"), ("Connection", "upgrade"), ("Upgrade", "any")]
    parser.send(h11.Request(method=method, target="/", headers=offers))
    parser.send(h11.EndOfMessage())
    return parser
