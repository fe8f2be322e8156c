"""uvicorn's HTTP/1.1 protocol with the bounds it lacks.

As it comes, it reads a head of any size, waits for ever for one that never ends, and takes a chunked
trailer for a request field. Here a head has a size and a time, a body has a time, and trailers are dropped.
Requests that cannot be parsed never reach an application, so their problem document is written here.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from issuer.problems import MEDIA_TYPE

MAX_HEAD_BYTES: Final = 16 * 1024
HEAD_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. Idle time between requests is uvicorn's `timeout_keep_alive`."""

    _deadline: asyncio.TimerHandle | None = None
    _reads_head: bool = True
    _head_bytes: int = 0
    _advanced: bool = False
    _refused: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """A connection begins: its first head must come in time."""
        super().connection_made(transport)
        self._limit(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self._limit(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refused:
            return
        if self._reads_head and self._deadline is None:
            self._limit(HEAD_SECONDS)
        self._advanced = False
        super().data_received(data)
        # The parser speaks of a field only once it is whole: one that never ends is counted here.
        if self._reads_head and not self._advanced:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")

    def on_url(self, url: bytes) -> None:
        """The parser found a piece of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser found a field. After the head it is a trailer, and must not become one of the head's."""
        if self._reads_head:
            self._count(len(name) + len(value) + len(": \r\n"))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole; the body must follow in time."""
        self._advanced, self._reads_head, self._head_bytes = True, False, 0
        self._limit(BODY_SECONDS)
        # Of a client who has left nobody waits for the answer: work in a queue asks before it begins.
        self.scope["state"]["has_left"] = self.transport.is_closing
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._advanced, self._reads_head = True, True
        self._limit(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed, and close. The parser's own words are left out."""
        del msg
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        too_large = self._head_bytes > MAX_HEAD_BYTES
        self.transport.write(_REFUSED_LARGE if too_large else _REFUSED)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._advanced = True
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("head too large")

    def _limit(self, seconds: float | None) -> None:
        """Close the connection unless something calls this again within `seconds`."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.close)


def _refusal(status: HTTPStatus, slug: str, title: str) -> bytes:
    problem = {"type": f"urn:gatepass:problem:{slug}", "title": title, "status": status.value}
    document = json.dumps(problem, separators=(",", ":"))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
        f"content-length: {len(document)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return (head + document).encode("ascii")


_REFUSED: Final = _refusal(HTTPStatus.BAD_REQUEST, "malformed-request", "This is not HTTP/1.1 as we read it")
_REFUSED_LARGE: Final = _refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The head of the request is too large"
)
