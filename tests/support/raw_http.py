"""HTTP/1.1 as bytes on a socket: requests exactly as a test writes them, responses parsed strictly.

A client library would normalise requests and tolerate malformed responses.
"""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]+")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([ -~]*)")

IDENTITY: Final = (
    "x-auth-issuer",
    "x-auth-subject",
    "x-auth-client",
    "x-auth-scope",
    "x-auth-roles",
    "x-auth-session",
    "x-auth-token",
    "x-auth-expires",
)


@dataclass(frozen=True)
class Response:
    """One response; header names in lower case, in the order received."""

    status: int
    fields: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str | None:
        """Return the value of a header, None if it is not there; AssertionError if it is there twice."""
        values = [value for known, value in self.fields if known == name.lower()]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        """Return whether the response announces the close."""
        return self["connection"] == "close"

    @property
    def challenge(self) -> str | None:
        return self["www-authenticate"]

    @property
    def identity(self) -> dict[str, str]:
        """Return the identity headers of the response."""
        return {name: value for name, value in self.fields if name.startswith("x-auth-")}


def parse(data: bytes) -> list[Response]:
    """Return all responses in `data`, which must be complete, without bodies and without other bytes."""
    responses = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"a response without its end: {head!r}"
        responses.append(_parse_head(head))
    return responses


def _parse_head(head: bytes) -> Response:
    first, *lines = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    assert status, first
    fields = [_FIELD.fullmatch(line) for line in lines]
    assert all(fields), lines
    response = Response(
        int(status[1]), tuple((found[1].decode().lower(), found[2].decode()) for found in fields if found)
    )
    assert response["content-length"] == "0", lines
    return response


class Wire:
    """A connection to `address`: a loopback port or the path of a unix socket."""

    def __init__(self, address: int | Path, timeout: float = 5.0) -> None:
        if isinstance(address, int):
            self.socket = socket.create_connection(("127.0.0.1", address), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(address))
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> Self:
        """Send each piece separately, usually as one packet."""
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def finish(self) -> Self:
        """Close the sending side; responses are still expected."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def send_until_closed(self, *pieces: bytes) -> list[Response]:
        """Send to a server that may close meanwhile; return every response until it closes."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send(*pieces)
        return self.rest()

    def ask(self, request: bytes) -> Response:
        """Send one request and read one response."""
        return next(self.send(request).responses(1))

    def responses(self, count: int) -> Iterator[Response]:
        """Return the next `count` responses; AssertionError if the connection ends before."""
        for _ in range(count):
            while b"\r\n\r\n" not in self._received:
                more = self.socket.recv(65536)
                assert more, f"closed after {self._received!r}"
                self._received += more
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            yield _parse_head(head)

    def rest(self) -> list[Response]:
        """Return every response until the server closes, which it must do within the timeout."""
        chunks = [self._received]
        self._received = b""
        while True:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                break
            chunks.append(more)
        return parse(b"".join(chunks))


def request(target: str = "/verify", *lines: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """Return a request head, with `Host` unless a line sets it."""
    host = () if any(line.lower().startswith("host:") for line in lines) else ("Host: verifier",)
    return "\r\n".join([f"{method} {target} {version}", *host, *lines, "", ""]).encode("latin-1")


def request_of(size: int, *lines: str) -> bytes:
    """Return a request whose head has this size."""
    bare = len(request("/verify", *lines, "X: "))
    return request("/verify", *lines, "X: " + "x" * (size - bare))


def bearer(token: bytes) -> str:
    """Return the header line that carries `token`."""
    return f"Authorization: Bearer {token.decode()}"
