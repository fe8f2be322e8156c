"""The HTTP/1.1 front of the subrequest: parser, limits, timeouts. It asks the decider and writes its bytes.

Hosted by uvicorn, which keeps start and graceful stop; parsed by httptools (llhttp). It is our own since what
sits here meets the internet: a head has a limit and a deadline, a trailer never becomes a header, and there is
no routing, no task and no second component for each request.

Accepted: HTTP/1.1 with one Host, HTTP/1.0; any target, any method but CONNECT; a head of 16 KiB; a body of
64 KiB, by Content-Length or the one coding `chunked` (read and dropped); pipelining; `Upgrade` (ignored: the
plain decision is the answer). A request is answered as soon as its head is complete, with one of the decider's
answers. What is no request is answered once and closed: 400 if it is malformed, 408 if its head does not come
within 10 s, 431 if its head is over the limit, 503 if there are too many connections. A body over the limit,
too late or malformed closes the connection without a second answer, which could be taken for the answer to
another request.
"""

import asyncio
from collections.abc import Callable
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

_SENT_TOGETHER: Final = 16
"""How many answers may wait for each other."""

_SLICE_BYTES: Final = 4096
"""What is parsed at once, and so by how much a limit on what is not yet complete can be overstepped."""

_IDLE: Final = 0
_HEAD: Final = 1
_BODY: Final = 2
_CLOSING: Final = 3
"""Where a connection stands. Plain integers, since every request asks several times."""


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
        tell_count: is told how many connections there are, whenever that changes.
    """

    def __init__(
        self,
        decider: Decider,
        max_connections: int,
        drain_seconds: int,
        tell_count: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.decide, self.recall, self.remember = decider.decide, decider.recall, decider.remember
        self.max_connections = max_connections
        self.drain_seconds = drain_seconds
        self.connections: set[Connection] = set()
        self._tell_count = tell_count
        self.unsent: list[tuple[asyncio.Transport, bytes]] = []
        self.draining = False
        self.now = 0

    def connect(self) -> "Connection":
        """The protocol of a new connection."""
        return Connection(self)

    def opened(self, connection: "Connection") -> None:
        """There is one more."""
        self.connections.add(connection)
        self._tell_count(len(self.connections))

    def closed(self, connection: "Connection") -> None:
        """There is one less."""
        self.connections.discard(connection)
        self._tell_count(len(self.connections))

    def send(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Write together with the answers to what came in with the same turn of the event loop.

        A gateway that has answered goes to sleep; each write of its own would wake it by an
        interrupt between processors, which took a third of the time of a miss (specs/adr/0024).
        """
        if not self.unsent:
            asyncio.get_running_loop().call_soon(self.flush)
        self.unsent.append((transport, answer))
        if len(self.unsent) >= _SENT_TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if unsent := self.unsent:
            self.unsent = []
            for transport, answer in unsent:
                transport.write(answer)

    def tick(self) -> None:
        """A second has passed: close what has had its time. Called once a second."""
        self.now += 1
        for connection in list(self.connections):
            connection.expire(self.now)


class _MalformedError(Exception):
    """Raised to the parser, which stops at it: no request, though the parser would let it pass."""


class Connection(asyncio.Protocol):
    """One connection of a gateway."""

    __slots__ = (
        "_authorization",
        "_decide",
        "_framed",
        "_front",
        "_hosts",
        "_option",
        "_out",
        "_parser",
        "_pending_bytes",
        "_phase",
        "_recall",
        "_remember",
        "_request_id",
        "_since",
        "_target",
        "_traceparent",
        "_transport",
        "_write_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, front: Front) -> None:
        self._front = front
        self._decide, self._recall, self._remember = front.decide, front.recall, front.remember
        self._parser = httptools.HttpRequestParser(self)
        self._phase = _IDLE
        self._since = front.now
        self._pending_bytes = 0
        self._target = b""
        self._authorization: bytes | None = None
        self._option: bytes | None = None
        self._request_id: bytes | None = None
        self._traceparent: bytes | None = None
        self._hosts = 0
        self._framed = False
        self._out: list[bytes] = []
        self._write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A gateway has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._front.opened(self)
        if len(self._front.connections) > self._front.max_connections:
            self._close_with(_TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        del exc
        self._front.closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come: of one request, of a part of one, or of many."""
        begins = self._phase == _IDLE
        if begins and (answer := self._recall(data)) is not None:
            front = self._front
            self._since = front.now
            if front.unsent:
                front.flush()
            self._transport.write(answer)
            return
        if len(data) <= _SLICE_BYTES:
            self._feed(data)
        else:
            for start in range(0, len(data), _SLICE_BYTES):
                self._feed(data[start : start + _SLICE_BYTES])
        if out := self._out:
            if len(out) == 1:
                self._front.send(self._transport, out[0])
                if begins and self._phase == _IDLE:
                    self._remember(data, out[0])
            else:
                # At once, so that a client that does not read its answers is not read from for long.
                self._front.flush()
                self._transport.write(b"".join(out))
            out.clear()

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
        if self._phase == _CLOSING:
            if age > LINGER_TICKS:
                self._transport.abort()
        elif self._write_paused:
            if age > REQUEST_TICKS:
                self._transport.abort()
        elif self._phase == _IDLE:
            if age > IDLE_TICKS:
                self._transport.close()
        elif age > REQUEST_TICKS:
            self._close_with(_REQUEST_TIMEOUT if self._phase == _HEAD else b"")

    def shutdown(self) -> None:
        """Called by uvicorn when it stops: the next answer announces the end, which then does not wait for long."""
        self._front.draining = True
        self._recall = _recall_nothing
        asyncio.get_running_loop().call_later(self._front.drain_seconds, self._transport.close)

    def on_message_begin(self) -> None:
        """Parser: the first byte of a request."""
        if self._phase == _CLOSING:
            return
        self._phase = _HEAD
        self._since = self._front.now
        self._target = b""
        self._authorization = self._option = self._request_id = self._traceparent = None
        self._hosts, self._framed = 0, False

    def on_url(self, url: bytes) -> None:
        """Parser: the request target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: C901 - a table, on the hot path
        """Parser: a header field; or a trailer field, which is none (RFC 9110 §6.5.1)."""
        if self._phase != _HEAD:
            return
        match len(name):  # which spares most fields the comparison
            case 4 if name.lower() == b"host":
                self._hosts += 1
            case 6 if name.lower() == b"expect":
                # After our final answer the client may or may not send the body: only closing is unambiguous.
                self._option = b"close"
            case 10 if name.lower() == b"connection":
                if self._parser.get_http_version() != "1.1":
                    self._option = self._option or b"keep-alive"
            case 13 if name.lower() == b"authorization":
                # Two fields are one list (RFC 9110 §5.3), which no bearer token is.
                self._authorization = value if self._authorization is None else self._authorization + b", " + value
            case 14 if name.lower() == b"content-length":
                self._framed = True
            case 17 if name.lower() == b"transfer-encoding":
                # RFC 9112 §6.1, §6.3: an unknown coding leaves the end of the body in doubt.
                if self._framed or value.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                    raise _MalformedError
                self._framed = True
            # Last, so that what decides is found first. Two of them are none (W3C Trace Context §3.2).
            case 12 if name.lower() == b"x-request-id":
                self._request_id = value if self._request_id is None else b""
            case 11 if name.lower() == b"traceparent":
                self._traceparent = value if self._traceparent is None else b""
            case _:
                pass

    def on_headers_complete(self) -> None:
        """Parser: the head is complete. This is where a request is answered."""
        if self._phase != _HEAD:
            return
        closes = not self._parser.should_keep_alive() or self._front.draining
        if self._hosts != 1 or closes or self._option:
            self._check_version()
        if self._parser.should_upgrade():
            if self._parser.get_method() == b"CONNECT":
                raise _MalformedError
            # The parser takes what follows for another protocol, and not for the body of this request.
            closes = closes or self._framed
        self._phase = _BODY
        self._pending_bytes = 0
        answer = self._decide(self._target, self._authorization, self._request_id, self._traceparent)
        if closes or self._option == b"close":
            self._close_with(_with_connection(answer, b"close"))
        elif self._option is not None:
            self._out.append(_with_connection(answer, self._option))
        else:
            self._out.append(answer)

    def _check_version(self) -> None:
        """RFC 9112 §3.2: one Host, which HTTP/1.0 may leave out. The parser would also pass 0.9 and 2.0."""
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1") or (self._hosts != 1 and (self._hosts or version == "1.1")):
            raise _MalformedError

    def on_message_complete(self) -> None:
        """Parser: the body has ended as well, if there was one."""
        if self._phase == _BODY:
            self._phase = _IDLE
            self._since = self._front.now

    def _feed(self, data: bytes) -> None:
        if self._phase == _CLOSING:
            return
        if self._pending_bytes and self._is_too_much(data):
            self._close_with(_HEAD_TOO_LARGE if self._phase == _HEAD else b"")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # We stay with HTTP: what follows is the next request.
            self._parser = httptools.HttpRequestParser(self)
            self._feed(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._close_with(b"" if self._phase == _BODY else _BAD_REQUEST)
        else:
            if self._phase == _HEAD:
                # What came before the last empty line belongs to requests that are answered.
                self._pending_bytes += len(data) - _after_last_empty_line(data)
            elif self._phase == _BODY:
                self._pending_bytes += len(data)
            else:
                self._pending_bytes = 0

    def _is_too_much(self, data: bytes) -> bool:
        """Whether the unfinished head or body goes over its limit with `data`."""
        if self._phase == _BODY:
            return self._pending_bytes + len(data) > MAX_BODY_BYTES + _SLICE_BYTES
        end = data.find(b"\r\n\r\n")
        return self._pending_bytes + (len(data) if end < 0 else end + 4) > MAX_HEAD_BYTES

    def _close_with(self, answer: bytes) -> None:
        """Say `answer`, end our side, ignore what still comes: a reset must not overtake the answer."""
        if self._phase == _CLOSING:
            return
        self._phase = _CLOSING
        self._since = self._front.now
        self._front.flush()
        self._transport.write(b"".join([*self._out, answer]))
        self._out.clear()
        self._transport.write_eof()


def _recall_nothing(request: bytes) -> None:
    del request


def _after_last_empty_line(data: bytes) -> int:
    end = data.rfind(b"\r\n\r\n")
    return 0 if end < 0 else end + 4


def _with_connection(answer: bytes, option: bytes) -> bytes:
    return answer[:-2] + b"Connection: " + option + b"\r\n\r\n"
