"""The HTTP/1.1 connections of the verifier, with every limit on what a client sends.

httptools (llhttp) parses. The rest is our own because clients on the internet send these requests through gateways:
a head has a limit and a deadline, a trailer never becomes a header, and there is no routing and no task for each
request.

Accepted: HTTP/1.1 with one Host, HTTP/1.0; any target, any method but CONNECT; a head of 16 KiB; a body of
64 KiB, by Content-Length or the one coding `chunked` (read and dropped); pipelining; `Upgrade` (ignored: the
plain response follows). A request gets its response as soon as its head is complete. An invalid request gets one
response and the connection is closed: 400 if it is malformed, 408 if its head does not come within 10 s, 431 if
its head is over the limit, 503 if there are too many connections. A body over the limit, too late or malformed
closes the connection without a second response, which could be read as the response to another request. A
connection without its first request is closed after 15 s, one between two requests after 75 s.
"""

import asyncio
from http import HTTPStatus
from typing import Final, cast

import httptools

from shared.same_origin import BrowserFields
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.http_server import HttpServer
from verifier.subrequest.responses import RETRY_AFTER_SECONDS

MAX_HEAD_BYTES: Final = 16 * 1024
"""Limit on the head of a request: its first line and its header fields together. A larger one gets 431."""
MAX_BODY_BYTES: Final = 64 * 1024
REQUEST_SECONDS: Final = 10
FIRST_REQUEST_SECONDS: Final = 14
"""The next tick after this time closes the connection: within 15 s of connecting."""
IDLE_SECONDS: Final = 75
LINGER_SECONDS: Final = 2

_FEED_CHUNK_BYTES: Final = 4096
"""Bytes parsed at once, and so by how much an incomplete head or body can exceed its limit."""

_EMPTY_LINE: Final = b"\r\n\r\n"
"""The end of a head: the line break of its last line, and the empty line."""

_BROWSER_FIELDS: Final = {
    b"cookie": "cookies",
    b"origin": "origin",
    b"sec-fetch-site": "site",
    b"x-forwarded-method": "method",
    b"sec-websocket-version": "websocket_version",
}
"""Header fields and their names in `BrowserFields`."""

_NEW: Final = 0
_IDLE: Final = 1
_HEAD: Final = 2
_BODY: Final = 3
_CLOSING: Final = 4
"""States of a connection. Plain integers, since every request compares them several times."""


def _error_response(status: HTTPStatus) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Content-Length: 0", "Connection: close"]
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(f"Retry-After: {RETRY_AFTER_SECONDS}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


_BAD_REQUEST: Final = _error_response(HTTPStatus.BAD_REQUEST)
_REQUEST_TIMEOUT: Final = _error_response(HTTPStatus.REQUEST_TIMEOUT)
_HEAD_TOO_LARGE: Final = _error_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
_TOO_MANY_CONNECTIONS: Final = _error_response(HTTPStatus.SERVICE_UNAVAILABLE)


class _MalformedError(Exception):
    """A request that is invalid though the parser accepts it. Raised to the parser, which stops."""


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection. Subclasses say what the response to a request is."""

    __slots__ = (
        "_authorization",
        "_body_bytes",
        "_browser_fields",
        "_connection_option",
        "_has_body_framing",
        "_host_count",
        "_parser",
        "_pending_bytes",
        "_request_id",
        "_responses",
        "_server",
        "_state",
        "_state_since",
        "_tail",
        "_target",
        "_traceparent",
        "_transport",
        "_write_paused",
    )

    _transport: asyncio.Transport
    # Of the present request: `on_message_begin` sets them.
    _target: bytes
    _authorization: bytes | None
    _connection_option: bytes | None
    _request_id: bytes | None
    _traceparent: bytes | None
    _browser_fields: dict[str, bytes] | None
    _host_count: int
    _has_body_framing: bool

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._state = _NEW
        self._state_since = server.clock_seconds
        self._pending_bytes = 0
        self._body_bytes = 0
        self._tail = b""
        self._responses: list[bytes] = []
        self._write_paused = False

    def _respond(self) -> bytes:
        """Return the response to the request whose head is complete."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection; reject it above `max_connections`."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        if len(self._server.connections) > self._server.max_connections:
            self._close_with(_TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregister the connection."""
        del exc
        self._server.remove(self)

    def data_received(self, data: bytes) -> None:
        """Parse `data`, which may hold a part of a request or many, and write the responses."""
        if len(data) <= _FEED_CHUNK_BYTES:
            self._feed(data)
        else:
            for start in range(0, len(data), _FEED_CHUNK_BYTES):
                self._feed(data[start : start + _FEED_CHUNK_BYTES])
        if responses := self._responses:
            if len(responses) == 1:
                self._server.write_batched(self._transport, responses[0])
            else:
                # Written at once, so that reading soon pauses if the client does not read its responses.
                self._server.flush()
                self._transport.write(b"".join(responses))
            responses.clear()

    def eof_received(self) -> bool:
        """Close: the peer sends no more, and its requests have their responses."""
        return False

    def pause_writing(self) -> None:
        """Read no more requests while the peer does not read its responses."""
        self._write_paused = True
        self._state_since = self._server.clock_seconds
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read requests again."""
        self._write_paused = False
        self._state_since = self._server.clock_seconds
        self._transport.resume_reading()

    def expire(self, now: int) -> None:
        """Close if the time of the present state is over; `now` by the clock of the server."""
        age = now - self._state_since
        if self._state == _CLOSING:
            if age > LINGER_SECONDS:
                self._transport.abort()
        elif self._write_paused or (self._state == _IDLE and self._transport.get_write_buffer_size()):
            # close() would wait, without end, until the peer reads its responses.
            if age > REQUEST_SECONDS:
                self._transport.abort()
        elif self._state == _NEW:
            if age > FIRST_REQUEST_SECONDS:
                self._transport.close()
        elif self._state == _IDLE:
            if age > IDLE_SECONDS:
                self._transport.close()
        elif age > REQUEST_SECONDS:
            self._close_with(_REQUEST_TIMEOUT if self._state == _HEAD else b"")

    def close(self) -> None:
        """Close when what is written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def on_message_begin(self) -> None:
        """Handle the first byte of a request; called by the parser, as the methods below."""
        if self._state == _CLOSING:
            return
        self._state = _HEAD
        self._state_since = self._server.clock_seconds
        self._target = b""
        self._authorization = self._connection_option = self._request_id = self._traceparent = None
        self._browser_fields = None
        self._host_count, self._has_body_framing = 0, False

    def on_url(self, url: bytes) -> None:
        """Handle the request target, or a part of it."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: C901, PLR0912 - a table, on the hot path
        """Handle a header field. A trailer field is ignored (RFC 9110 §6.5.1)."""
        if self._state != _HEAD:
            return
        match len(name):  # cheaper than comparing every field with every name
            case 4 if name.lower() == b"host":
                self._host_count += 1
            case 6 if name.lower() == b"expect":
                # After our final response the client may or may not send the body: only closing is unambiguous.
                self._connection_option = b"close"
            case 10 if name.lower() == b"connection":
                if self._parser.get_http_version() != "1.1":
                    self._connection_option = self._connection_option or b"keep-alive"
            case 13 if name.lower() == b"authorization":
                # Two fields are one list (RFC 9110 §5.3), which is never a valid bearer token.
                self._authorization = value if self._authorization is None else self._authorization + b", " + value
            case 14 if name.lower() == b"content-length":
                self._has_body_framing = True
            case 17 if name.lower() == b"transfer-encoding":
                # RFC 9112 §6.1, §6.3: an unknown coding leaves the end of the body in doubt.
                if self._has_body_framing or value.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                    raise _MalformedError
                self._has_body_framing = True
            # Last, since they are only logged. Two of them count as none (W3C Trace Context §3.2).
            case 12 if name.lower() == b"x-request-id":
                self._request_id = value if self._request_id is None else b""
            case 11 if name.lower() == b"traceparent":
                self._traceparent = value if self._traceparent is None else b""
            # An empty field counts as absent: Caddy sends it if the client sent no such field.
            case 6 | 14 | 18 | 21 if value and (field := _BROWSER_FIELDS.get(name.lower())) is not None:
                self._add_browser_field(field, value)
            case _:
                pass

    def _add_browser_field(self, field: str, value: bytes) -> None:
        """Store a field that a policy with a cookie checks. Two `Cookie` fields are one (RFC 9113 §8.2.3)."""
        fields = self._browser_fields = self._browser_fields or {}
        if field in fields:
            # Two of any other field are a value that is never accepted.
            value = fields[field] + (b"; " if field == "cookies" else b", ") + value
        fields[field] = value

    def on_headers_complete(self) -> None:
        """Respond: the head is complete."""
        if self._state != _HEAD:
            return
        closes = not self._parser.should_keep_alive() or self._server.draining
        if self._host_count != 1 or closes or self._connection_option:
            self._check_host_and_version()
        if self._parser.should_upgrade():
            if self._parser.get_method() == b"CONNECT":
                raise _MalformedError
            # The parser reads what follows as another protocol, and not as the body of this request.
            closes = closes or self._has_body_framing
        self._state = _BODY
        self._pending_bytes = self._body_bytes = 0
        response = self._respond()
        if closes or self._connection_option == b"close":
            self._close_with(_with_connection_header(response, b"close"))
        elif self._connection_option is not None:
            self._responses.append(_with_connection_header(response, self._connection_option))
        else:
            self._responses.append(response)

    def _check_host_and_version(self) -> None:
        """Require one Host, which HTTP/1.0 may omit (RFC 9112 §3.2). The parser also accepts versions 0.9 and 2.0."""
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1") or (self._host_count != 1 and (self._host_count or version == "1.1")):
            raise _MalformedError

    def on_body(self, body: bytes) -> None:
        """Count a part of a body."""
        self._body_bytes += len(body)

    def on_chunk_complete(self) -> None:
        """Count no chunk: a chunked body ends with an empty line, which `_count_head` finds."""
        self._body_bytes = 0

    def on_message_complete(self) -> None:
        """Handle the end of a request and its body."""
        if self._state == _BODY:
            self._state = _IDLE
            self._state_since = self._server.clock_seconds

    def _feed(self, data: bytes) -> None:
        if self._state == _CLOSING:
            return
        if self._pending_bytes and self._state == _HEAD and self._exceeds_limit(data):
            self._close_with(_HEAD_TOO_LARGE)
            return
        self._body_bytes = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The connection stays HTTP: what follows is the next request.
            self._parser = httptools.HttpRequestParser(self)
            self._feed(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._close_with(b"" if self._state == _BODY else _BAD_REQUEST)
        else:
            if self._state == _HEAD:
                self._count_head(data)
            elif self._state == _BODY:
                self._pending_bytes += len(data)
                self._tail = (self._tail + data)[1 - len(_EMPTY_LINE) :]
                # Not before parsing: the body may end within `data`.
                if self._pending_bytes > MAX_BODY_BYTES + _FEED_CHUNK_BYTES:
                    self._close_with(b"")
            else:
                self._pending_bytes = 0
                self._tail = b""

    def _count_head(self, data: bytes) -> None:
        """Count an incomplete head. What precedes it belongs to requests that have their response.

        That is all up to the last empty line, and a body of known length, which follows one.
        """
        seen = self._tail + data
        end = seen.rfind(_EMPTY_LINE)
        if end < 0 and not self._body_bytes:
            self._pending_bytes += len(data)
        else:
            start = self._body_bytes + (len(self._tail) if end < 0 else end + len(_EMPTY_LINE))
            # An empty line inside the body makes the sum too large.
            self._pending_bytes = max(len(seen) - start, 0)
        # The next data may begin inside an empty line.
        self._tail = seen[1 - len(_EMPTY_LINE) :]

    def _exceeds_limit(self, data: bytes) -> bool:
        """Return whether the incomplete head exceeds its limit with `data`."""
        end = (self._tail + data).find(_EMPTY_LINE)
        size = len(data) if end < 0 else end + len(_EMPTY_LINE) - len(self._tail)
        return self._pending_bytes + size > MAX_HEAD_BYTES

    def _close_with(self, response: bytes) -> None:
        """Send `response`, close our side, and ignore further data, which would reset a connection that is closed."""
        if self._state == _CLOSING:
            return
        self._state = _CLOSING
        self._state_since = self._server.clock_seconds
        self._server.flush()
        self._transport.write(b"".join([*self._responses, response]))
        self._responses.clear()
        self._transport.write_eof()


class SubrequestConnection(Connection):
    """A connection of a gateway."""

    __slots__ = ("_authorize",)

    def __init__(self, server: HttpServer, authorizer: Authorizer) -> None:
        super().__init__(server)
        self._authorize = authorizer.authorize

    def _respond(self) -> bytes:
        if self._browser_fields is None:
            return self._authorize(self._target, self._authorization, self._request_id, self._traceparent)
        browser = BrowserFields(**self._browser_fields)
        return self._authorize(self._target, self._authorization, self._request_id, self._traceparent, browser)


def _with_connection_header(response: bytes, option: bytes) -> bytes:
    status_line, _, rest = response.partition(b"\r\n")
    return b"%b\r\nConnection: %b\r\n%b" % (status_line, option, rest)
