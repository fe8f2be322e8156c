"""One call of an ASGI application, which gets the complete request and sends its response in one piece.

Nothing is streamed, so a response does not depend on how the bytes of its request arrive.
"""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Scope

Fields = Sequence[tuple[bytes, bytes]]

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
_NO_CONTENT: Final = frozenset({HTTPStatus.NO_CONTENT.value, HTTPStatus.NOT_MODIFIED.value})
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_log = structlog.get_logger(__name__)


class Exchange:
    """One call of the application.

    Args:
        scope: the scope of the request (ASGI).
        body: the complete body of the request.
        reply: takes the head and the body of the response, or None if the application failed to respond.
    """

    def __init__(self, scope: Scope, body: bytes, reply: Callable[[bytes | None, bytes], None]) -> None:
        self._scope, self._body, self._reply = scope, body, reply
        self._start: Message | None = None
        self._replied = False

    async def run(self, app: ASGIApp) -> None:
        """Run the application and send its response."""
        try:
            await app(self._scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - a bug in `middleware.py`, which catches everything else
            _log.error("application_failed", kind=type(error).__name__)
        finally:
            if not self._replied:
                self._reply(None, b"")

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is None or self._replied or message.get("more_body"):
            raise RuntimeError("a response is one http.response.start and one complete http.response.body")
        body = message.get("body", b"")
        head = response_head(self._start["status"], self._start["headers"], len(body))
        omits_body = self._scope["method"] == "HEAD" or self._start["status"] in _NO_CONTENT
        self._replied = True
        self._reply(head, b"" if omits_body else body)


def response_head(status: int, fields: Fields, content_length: int) -> bytes:
    """Return a response head without its last empty line, so that fields can be added.

    Raises:
        ValueError: a field contains a control character, which could end it and begin another response.
    """
    if _CONTROL.search(b"".join(chain.from_iterable(fields))):
        raise ValueError("a response field contains a control character")
    pieces = [_STATUS_LINES[status]]
    for name, value in fields:
        if name != b"content-length":
            pieces += name, b": ", value, b"\r\n"
    if status not in _NO_CONTENT:
        pieces.append(b"content-length: %d\r\n" % content_length)
    return b"".join(pieces)
