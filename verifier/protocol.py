"""The HTTP/1.1 front of the subrequest: parser, limits, timeouts. It asks the decider and writes its bytes.

Hosted by uvicorn, which keeps sockets, event loop and graceful stop; parsed by httptools (llhttp). It is our
own since what sits here meets the internet: a head has a limit and a deadline, a trailer never becomes a
header, and there is no routing, no task and no second component for each request.

Accepted: HTTP/1.0 and 1.1, any target and method, a head of 16 KiB, a body of 64 KiB (read and dropped),
pipelining, `Upgrade` (ignored: the plain decision is the answer). A request is answered as soon as its head
is complete, with one of the decider's answers. What is no request is answered once and closed: 400 if it is
malformed, 408 if its head does not come within 10 s, 431 if its head is over the limit, 503 if there are too
many connections. A body over the limit, too late or malformed closes the connection without a second answer,
which could be taken for the answer to another request.
"""

import asyncio
from enum import IntEnum
from http import HTTPStatus
from typing import Final, cast

import httptools

from verifier.decider import Decider

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
REQUEST_TICKS: Final = 10
IDLE_TICKS: Final = 75
LINGER_TICKS: Final = 2
"""Seconds, counted by `Front.tick`: one clock for all connections is cheaper than a timer for each."""

_SLICE_BYTES: Final = 4096
"""What is parsed at once, and so by how much a limit on what is not yet complete can be overstepped."""


class _Phase(IntEnum):
    IDLE = 0
    HEAD = 1
    BODY = 2
    CLOSING = 3


def _fault(status: HTTPStatus) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return head.encode("ascii")


_BAD_REQUEST: Final = _fault(HTTPStatus.BAD_REQUEST)
_REQUEST_TIMEOUT: Final = _fault(HTTPStatus.REQUEST_TIMEOUT)
_HEAD_TOO_LARGE: Final = _fault(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
_TOO_MANY_CONNECTIONS: Final = _fault(HTTPStatus.SERVICE_UNAVAILABLE)


class Front:
    """What the connections of one worker share.

    Args:
        decider: asked for every request.
        max_connections: one more is answered 503 and closed.
        drain_seconds: how long connections are still served after uvicorn was told to stop.
    """

    def __init__(self, decider: Decider, max_connections: int, drain_seconds: int) -> None:
        self.decide = decider.decide
        self.max_connections = max_connections
        self.drain_seconds = drain_seconds
        self.connections: set[Connection] = set()
        self.draining = False
        self.now = 0

    def tick(self) -> None:
        """A second has passed: close what has had its time. Called once a second."""
        self.now += 1
        for connection in list(self.connections):
            connection.expire(self.now)


class Connection(asyncio.Protocol):
    """One connection of a gateway."""

    __slots__ = (
        "_authorization",
        "_decide",
        "_front",
        "_head_bytes",
        "_keep_alive_1_0",
        "_out",
        "_parser",
        "_pending_bytes",
        "_phase",
        "_since",
        "_target",
        "_transport",
        "_wants_close",
        "_write_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self._front = front
        self._decide = front.decide
        self._parser = httptools.HttpRequestParser(self)
        self._phase = _Phase.IDLE
        self._since = front.now
        self._out: list[bytes] = []
        self._write_paused = False
        self._pending_bytes = 0
        self._target = b""
        self._authorization: bytes | None = None
        self._head_bytes = 0
        self._wants_close = False
        self._keep_alive_1_0 = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A gateway has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._front.connections.add(self)
        if len(self._front.connections) > self._front.max_connections:
            self._close_with(_TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        del exc
        self._front.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: of one request, of a part of one, or of many."""
        if len(data) <= _SLICE_BYTES:
            self._feed(data)
        else:
            for start in range(0, len(data), _SLICE_BYTES):
                self._feed(data[start : start + _SLICE_BYTES])
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def eof_received(self) -> bool:
        """The gateway will send no more; what it asked is answered."""
        return False

    def pause_writing(self) -> None:
        """It does not read its answers: take no more requests until it does."""
        self._write_paused = True
        self._since = self._front.now
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self._write_paused = False
        self._transport.resume_reading()

    def expire(self, now: int) -> None:
        """Close if the time for what is going on is over; `now` in ticks."""
        age = now - self._since
        if self._phase is _Phase.CLOSING:
            if age > LINGER_TICKS:
                self._transport.abort()
        elif self._write_paused:
            if age > REQUEST_TICKS:
                self._transport.abort()
        elif self._phase is _Phase.IDLE:
            if age > IDLE_TICKS:
                self._transport.close()
        elif age > REQUEST_TICKS:
            self._close_with(_REQUEST_TIMEOUT if self._phase is _Phase.HEAD else b"")

    def shutdown(self) -> None:
        """Called by uvicorn when it stops: the next answer announces the end, which then does not wait for long."""
        self._front.draining = True
        asyncio.get_running_loop().call_later(self._front.drain_seconds, self._transport.close)

    def on_message_begin(self) -> None:
        """Parser: the first byte of a request."""
        self._phase = _Phase.HEAD
        self._since = self._front.now
        self._pending_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Parser: the request target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field; or a trailer field, which is none (RFC 9110 §6.5.1)."""
        if self._phase is not _Phase.HEAD:
            return
        self._head_bytes += len(name) + len(value) + 4
        length = len(name)
        if length == 13 and name.lower() == b"authorization":  # noqa: PLR2004 - spares lower() for others
            # Two fields are one list (RFC 9110 §5.3), which no bearer token is.
            self._authorization = value if self._authorization is None else self._authorization + b", " + value
        elif length == 10 and name.lower() == b"connection":  # noqa: PLR2004
            self._keep_alive_1_0 = self._parser.get_http_version() == "1.0"
        elif length == 6 and name.lower() == b"expect":  # noqa: PLR2004
            # After our final answer the client may or may not send the body: only closing is unambiguous.
            self._wants_close = True

    def on_headers_complete(self) -> None:
        """Parser: the head is complete. This is where a request is answered."""
        if self._phase is not _Phase.HEAD:
            return
        if self._head_bytes + len(self._target) > MAX_HEAD_BYTES:
            self._close_with(_HEAD_TOO_LARGE)
            return
        self._phase = _Phase.BODY
        self._pending_bytes = 0
        answer = self._decide(self._target, self._authorization)
        if self._wants_close or self._front.draining or not self._parser.should_keep_alive():
            self._close_with(_with_connection(answer, b"close"))
        elif self._keep_alive_1_0:
            self._out.append(_with_connection(answer, b"keep-alive"))
        else:
            self._out.append(answer)

    def on_message_complete(self) -> None:
        """Parser: the body has ended as well, if there was one."""
        if self._phase is _Phase.BODY:
            self._phase = _Phase.IDLE
            self._since = self._front.now
            self._start_over()

    def _start_over(self) -> None:
        self._target = b""
        self._authorization = None
        self._head_bytes = 0
        self._wants_close = False
        self._keep_alive_1_0 = False

    def _feed(self, data: bytes) -> None:
        if self._phase is _Phase.CLOSING:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # We stay with HTTP: what follows is the next request.
            self._parser = httptools.HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self._feed(rest)
            return
        except httptools.HttpParserError:
            self._close_with(b"" if self._phase is _Phase.BODY else _BAD_REQUEST)
            return
        if self._phase is _Phase.HEAD:
            self._pending_bytes += len(data)
            if self._pending_bytes > MAX_HEAD_BYTES + _SLICE_BYTES:
                self._close_with(_HEAD_TOO_LARGE)
        elif self._phase is _Phase.BODY:
            self._pending_bytes += len(data)
            if self._pending_bytes > MAX_BODY_BYTES + _SLICE_BYTES:
                self._close_with(b"")

    def _close_with(self, answer: bytes) -> None:
        """Say `answer`, end our side, ignore what still comes: a reset must not overtake the answer."""
        if self._phase is _Phase.CLOSING:
            return
        self._phase = _Phase.CLOSING
        self._since = self._front.now
        self._transport.write(b"".join([*self._out, answer]))
        self._out.clear()
        self._transport.write_eof()


def _with_connection(answer: bytes, option: bytes) -> bytes:
    return answer[:-2] + b"Connection: " + option + b"\r\n\r\n"
