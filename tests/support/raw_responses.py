"""HTTP/1.1 responses with bodies, read strictly from a socket, without bytes of the next one."""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Response:
    """One response. `head` is all of its head, without the last empty line."""

    status: int
    head: bytes
    body: bytes


def read_response(client: socket.socket) -> Response:
    """Read the next response; AssertionError if the connection ends before."""
    response = _read(client)
    assert response is not None, "the connection was closed without a response"
    return response


def read_responses(client: socket.socket) -> Iterator[Response]:
    """Read responses until the other side closes."""
    return iter(lambda: _read(client), None)


def _read(client: socket.socket) -> Response | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            assert not head, f"closed within a head: {head!r}"
            return None
        head += byte
    head = head[:-2]
    length = _LENGTH.search(head)
    body = b"" if length is None else client.recv(int(length[1]), socket.MSG_WAITALL)
    assert length is None or len(body) == int(length[1]), "closed within a body"
    return Response(int(head.split(b" ", 2)[1]), head, body)
