"""The doctor's only I/O: one request as the bytes it is, on a connection of its own, to the one place it was given.

Whatever the other side does, a request ends within `REQUEST_SECONDS` and `_ANSWER_BYTES`, in an `Answer` or a
`Silence`. Nothing is followed, retried, or kept.
"""

import socket
import ssl
import time
from ipaddress import ip_address, ip_network
from typing import Final

import h11

from doctor.messages import Answer, Outcome, Request, Silence
from doctor.target import Target, TargetError

REQUEST_SECONDS: Final = 5.0
_HEAD_BYTES: Final = 64 * 1024
_ANSWER_BYTES: Final = 256 * 1024
_PRIVATE: Final = [ip_network(name) for name in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
"""RFC 1918 and RFC 4193; what `ipaddress` calls private holds addresses that lead anywhere."""

_SWITCHED: Final = 101
_FINAL: Final = 200
_CLOSED: Final = Silence("the connection was closed without an answer", refuses=True)
_NOT_HTTP: Final = Silence("an answer that is not HTTP/1.1", refuses=False)


class Wire:
    """Asks the target, at the addresses that its name had at the beginning.

    Args:
        target: where to send.
        tls: for https.
        seconds: how long a request may take.

    Raises:
        TargetError: there is no such host, or it must not be asked without TLS.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext, seconds: float = REQUEST_SECONDS) -> None:
        self._target, self._tls, self._seconds = target, tls, seconds
        self._addresses = _resolve(target)

    def ask(self, request: Request) -> Outcome:
        """Send `request` and read one answer."""
        deadline = time.monotonic() + self._seconds
        try:
            with self._connect(deadline) as connection:
                _send(connection, request.octets)
                return _receive(connection, request.method, deadline)
        except ssl.SSLCertVerificationError as error:
            return Silence(f"its certificate is not trusted ({error.verify_message})", refuses=False)
        except TimeoutError:
            return Silence(f"no answer within {self._seconds:g} s", refuses=False)
        except OSError as error:
            return Silence(f"it can't be reached ({error.strerror or type(error).__name__})", refuses=False)

    def _connect(self, deadline: float) -> socket.socket:
        connection = self._reach(deadline)
        if not self._target.secure:
            return connection
        try:
            connection.settimeout(_left(deadline))
            return self._tls.wrap_socket(connection, server_hostname=self._target.host)
        except BaseException:
            connection.close()
            raise

    def _reach(self, deadline: float) -> socket.socket:
        """The first address that takes a connection; it is the only one from then on."""
        while True:
            try:
                connection = socket.create_connection((self._addresses[0], self._target.port), _left(deadline))
            except OSError:
                if len(self._addresses) == 1:
                    raise
                del self._addresses[0]
            else:
                del self._addresses[1:]
                return connection


def _resolve(target: Target) -> list[str]:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TargetError("URL: its host is not known; check the name") from error
    addresses = [str(name[4][0]) for name in found]
    if target.private_only and not all(map(_is_private, addresses)):
        raise TargetError("URL: plain http to a public address would give the token away; use https")
    return addresses


def _is_private(address: str) -> bool:
    known = ip_address(address.partition("%")[0])
    return known.is_loopback or any(known in network for network in _PRIVATE)


def _send(connection: socket.socket, octets: bytes) -> None:
    try:
        connection.sendall(octets)
    except (BrokenPipeError, ConnectionResetError):
        return  # Refused while we were talking: the answer may be there all the same.


def _receive(connection: socket.socket, method: str, deadline: float) -> Outcome:
    """The final answer or 101, its body as far as it came in time and within bounds."""
    reader, answer, body, received = _reader(method), None, bytearray(), 0
    try:
        while received <= _ANSWER_BYTES:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                connection.settimeout(_left(deadline))
                data = connection.recv(65536)
                received += len(data)
                reader.receive_data(data)
            elif isinstance(event, h11.Response | h11.InformationalResponse):
                answer = event if event.status_code == _SWITCHED or event.status_code >= _FINAL else None
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
    except TimeoutError:
        if answer is None:
            raise
    except (h11.RemoteProtocolError, OSError):
        if answer is None:
            return _NOT_HTTP if received else _CLOSED
    if answer is None:
        return Silence("an answer without an end", refuses=False)
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers)
    return Answer(answer.status_code, fields, bytes(body))


def _left(deadline: float) -> float:
    """Seconds; never 0, which would mean not to wait but to fail."""
    return max(deadline - time.monotonic(), 0.001)


def _reader(method: str) -> h11.Connection:
    """Reads the answer to a request that it never sees: how that was written is beyond what it would send."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
    offers = [("Host", "gateway"), ("Connection", "upgrade"), ("Upgrade", "any")]
    reader.send(h11.Request(method=method, target="/", headers=offers))
    reader.send(h11.EndOfMessage())
    return reader
