"""A request over HTTP/2 (RFC 9113) as bytes, exactly as a test writes it."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

Fields = Sequence[tuple[str, str]]

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4


def exchange(port: int, fields: Fields, body: bytes, trailers: Fields, timeout: float = 10.0) -> bytes:
    """Send a request with trailers on a new connection, without ALPN; return the bytes until its response ends."""
    request = [
        _frame(_SETTINGS, 0, 0, b""),
        _frame(_HEADERS, _END_HEADERS, 1, _hpack(fields)),
        _frame(_DATA, 0, 1, body),
        _frame(_HEADERS, _END_HEADERS | _END_STREAM, 1, _hpack(trailers)),
    ]
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection, suppress(ConnectionError):
        connection.sendall(_PREFACE + b"".join(request))
        while not _ends(received) and (more := connection.recv(65536)):
            received += more
    return received


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _hpack(fields: Fields) -> bytes:
    """Encode each field as a literal with a new name, not indexed, without Huffman codes (RFC 7541 §6.2.2)."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def _string(text: str) -> bytes:
    size, prefix = len(text), bytearray()
    if size < 127:
        prefix.append(size)
    else:
        prefix.append(127)
        size -= 127
        while size >= 128:
            prefix.append(size % 128 + 128)
            size //= 128
        prefix.append(size)
    return bytes(prefix) + text.encode("ascii")


def _ends(received: bytes) -> bool:
    """Return whether the response has ended, or the connection is not one of HTTP/2."""
    if received.startswith(b"HTTP/1"):
        return True
    while len(received) >= 9:
        size, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
        if kind in {_RST_STREAM, _GOAWAY} or (kind in {_DATA, _HEADERS} and flags & _END_STREAM):
            return len(received) >= 9 + size
        received = received[9 + size :]
    return False
