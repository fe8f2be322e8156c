"""Sends requests byte for byte as in a vector. A client library would normalise or reject them."""

import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_LARGEST_HEAD: Final = 65_536
POLICY: Final = "{policy}"
DEFAULT_POLICY: Final = "default"


class InvalidUrlError(ValueError):
    """The URL does not name an endpoint."""


@dataclass(frozen=True, slots=True)
class Response:
    """The start of a response.

    Attributes:
        status: its status code; None if there was no response, or none in time.
        fields: its header fields, names in lower case; of equal names the last.
    """

    status: int | None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A decision endpoint.

    Attributes:
        target: the request target, with `{policy}` where a name of `policies.json` belongs, if it has several.
        fields: header fields that each request must have, beside `Host` and `Authorization`.
        timeout: seconds to wait for a connection, and for each part of a response.
    """

    host: str
    port: int
    target: str
    tls: bool = False
    fields: tuple[str, ...] = ()
    timeout: float = 5.0

    @classmethod
    def of(cls, url: str, fields: Sequence[str] = (), timeout: float = 5.0) -> "Endpoint":
        """Read a URL such as `http://127.0.0.1:8001/verify/{policy}`.

        Raises:
            InvalidUrlError: it is not an http or https URL with a host.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidUrlError(f"{url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise InvalidUrlError(f"{url} is not a URL like http://127.0.0.1:8001/verify")
        tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, port or (443 if tls else 80), target, tls, tuple(fields), timeout)

    @property
    def has_policies(self) -> bool:
        """Return whether the URL has a place for the name of a policy."""
        return POLICY in self.target

    def target_of(self, policy: str) -> bytes:
        """Return the request target of a policy."""
        return self.target.replace(POLICY, policy).encode()

    def ask(self, target: bytes, authorization: Sequence[bytes]) -> Response:
        """Send one request on a connection of its own, with these `Authorization` fields."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            b"GET %b HTTP/1.1" % target,
            f"Host: {host}:{self.port}".encode(),
            b"Connection: close",
            *(line.encode("latin-1") for line in self.fields),
            *(b"Authorization: %b" % value for value in authorization),
        ]
        try:
            head = self._exchange(b"\r\n".join([*lines, b"", b""]))
        except OSError:
            return Response(None)
        found = _STATUS_LINE.match(head)
        return Response(int(found[1]), _fields(head)) if found else Response(None)

    def _exchange(self, request: bytes) -> bytes:
        """Return the bytes before the body, or before the end of the connection."""
        head = b""
        with socket.create_connection((self.host, self.port), self.timeout) as connection:
            stream = self._secured(connection)
            stream.sendall(request)
            while b"\r\n\r\n" not in head and len(head) < _LARGEST_HEAD and (more := stream.recv(65_536)):
                head += more
        return head

    def _secured(self, connection: socket.socket) -> socket.socket:
        if not self.tls:
            return connection
        return ssl.create_default_context().wrap_socket(connection, server_hostname=self.host)


def can_be_sent(value: bytes) -> bool:
    """Return whether an HTTP field can carry the value: CR, LF and NUL end it, outer space is no part of it."""
    return value == value.strip(b" \t") and not re.search(rb"[\r\n\0]", value)


def _fields(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
