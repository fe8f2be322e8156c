"""Transport faults of a source of documents."""

import socket
import struct
from collections.abc import Callable
from typing import Final

from tests.support.jwks_server import Behaviour, Exchange, response, sends

_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def reset(exchange: Exchange) -> None:
    """Reset the connection without a response."""
    exchange.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _then(data: bytes, action: Callable[[Exchange], None]) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        exchange.socket.sendall(data)
        action(exchange)

    return behave


def hostile_responses(document: bytes) -> dict[str, Behaviour]:
    """Return the faults in the delivery of `document`, a valid one, by name."""
    valid = response(document)
    return {
        "no response": Exchange.hang,
        "hangs within the status line": _then(b"HTTP/1.1 2", Exchange.hang),
        "hangs within the head": _then(_HEAD, Exchange.hang),
        "hangs before the body": _then(valid[: -len(document)], Exchange.hang),
        "hangs before the last byte": _then(valid[:-1], Exchange.hang),
        "hangs after a body without a length": _then(_HEAD + b"\r\n" + document, Exchange.hang),
        "drips a head without end": _then(_HEAD, lambda it: it.drip(b"X: y\r\n")),
        "drips a body without end": _then(_HEAD + b"Content-Length: 100000\r\n\r\n", lambda it: it.drip(b" ")),
        "drips chunks without end": _then(
            _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", lambda it: it.drip(b"1\r\n \r\n")
        ),
        "pours a head without end": _then(_HEAD, lambda it: it.pour(b"X: " + b"y" * 1000 + b"\r\n")),
        "pours a body without end": _then(_HEAD + b"\r\n", lambda it: it.pour(b" " * 65536)),
        "pours chunks without end": _then(
            _HEAD + b"Transfer-Encoding: chunked\r\n\r\n", lambda it: it.pour(b"400\r\n" + b" " * 1024 + b"\r\n")
        ),
        "pours 100-continue without end": lambda it: it.pour(b"HTTP/1.1 100 Continue\r\n\r\n"),
        "pours the length it announced, of gigabytes": _then(
            _HEAD + b"Content-Length: 10000000000\r\n\r\n", lambda it: it.pour(b" " * 65536)
        ),
        "closes at once": lambda _: None,
        "resets": reset,
        "closes within the head": sends(_HEAD),
        "closes within the body": sends(valid[:-1]),
        "closes within a chunk": sends(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + document),
        "announces too much": sends(response(document, length=10_000)),
        "announces too little": sends(response(document, length=50)),
        "announces two lengths": sends(response(document, "Content-Length: 3")),
        "announces a negative length": sends(response(document, length=-1)),
        "a malformed chunk": sends(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "speaks no HTTP": sends(b"220 mail.example ESMTP\r\n"),
        "speaks TLS": sends(b"\x15\x03\x01\x00\x02\x02\x28"),
        "speaks HTTP/2": sends(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)),
        "NUL in the head": sends(b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n" + document),
        "204": sends(b"HTTP/1.1 204 No Content\r\n\r\n"),
        "206": sends(response(document, status="206 Partial Content")),
        "301 to a valid one": sends(response(b"", "Location: /other", status="301 Moved Permanently")),
        "302 to a file": sends(response(document, "Location: file:///etc/passwd", status="302 Found")),
        "307 elsewhere": sends(response(b"", "Location: http://169.254.169.254/", status="307 Temporary Redirect")),
        "304 to an unconditional request": sends(response(b"", status="304 Not Modified")),
        "401": sends(response(b"", status="401 Unauthorized")),
        "404 with a valid document": sends(response(document, status="404 Not Found")),
        "500 with a valid document": sends(response(document, status="500 Internal Server Error")),
    }
