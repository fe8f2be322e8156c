"""HTTP/1.1 responses with bodies, read strictly from a socket, without bytes of the next one."""

import re
import socket
from dataclasses import dataclass
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Response:
    """One response. `head` is all of its head, without the last empty line."""

    status: int
    head: bytes


def read_response(client: socket.socket) -> Response:
    """Read the next response with its body; AssertionError if the connection ends before."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        assert byte, f"closed within a head: {head!r}"
        head += byte
    head = head[:-2]
    if length := _LENGTH.search(head):
        assert len(client.recv(int(length[1]), socket.MSG_WAITALL)) == int(length[1]), "closed within a body"
    return Response(int(head.split(b" ", 2)[1]), head)
