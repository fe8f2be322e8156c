"""HTTP/1.1, one request at a time: httptools (llhttp) parses it, and an ASGI application responds.

The application gets a request when it is complete, and the next request of the connection is parsed when the response
has been sent. So a connection holds one request and at most `READ_BYTES` beyond it, whatever the client sends ahead.

Accepted: HTTP/1.1 with one Host, HTTP/1.0; any method but CONNECT; a head of 16 KiB; a body by Content-Length or in
the one coding `chunked`, whose trailer is dropped; `Upgrade`, which is ignored (RFC 9110 §7.8). A malformed request
never reaches an application: this module sends a problem document and closes the connection.
"""

import asyncio
import contextvars
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import httptools
import structlog
from starlette.types import ASGIApp

from issuer.http.connections import Connection, Connections, Phase
from issuer.http.exchange import Exchange, response_head
from issuer.http.problems import MEDIA_TYPE, Problem

MAX_HEAD_BYTES: Final = 16 * 1024
"""Limit on the head of a request: its first line and its header fields together. A larger one gets 431."""
MAX_BODY_BYTES: Final = 64 * 1024

_MAX_CHUNKED_BYTES: Final = 4 * MAX_BODY_BYTES
"""Maximum size of a body with its chunk sizes and trailer. In chunks of one byte, a body takes six times its size."""

_CHEAP_METHODS: Final = ("GET", "HEAD", "OPTIONS")
"""Requests such as for the key set and status lists have their own queue: a burst of logins must not delay them."""

_EMPTY_LINE: Final = b"\r\n\r\n"

_log = structlog.get_logger(__name__)


class _MalformedError(Exception):
    """A malformed request that llhttp accepts. It stops the parser."""


class HttpConnection(Connection):
    """One connection of a client.

    Args:
        connections: all connections of the listener.
        app: the ASGI application.
        tasks: the running tasks of requests.
        default_fields: returns the header lines of every response.
    """

    def __init__(
        self,
        connections: Connections,
        app: ASGIApp,
        tasks: set[asyncio.Task[None]],
        default_fields: Callable[[], bytes],
    ) -> None:
        super().__init__(connections)
        self._app, self._tasks, self._default_fields = app, tasks, default_fields
        self._parser = httptools.HttpRequestParser(self)
        self._draining = False
        self._tail = b""  # the last bytes that were parsed: an empty line may be split between two pieces
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection (asyncio)."""
        super().connection_lost(exc)
        if self.phase is Phase.BODY or (self.phase is Phase.HEAD and self._bytes):
            _log.debug("client_disconnected", request="incomplete")
        # The parser refers to this object. Breaking the cycle frees the connection without the garbage collector.
        del self._parser

    def shutdown(self) -> None:
        """Close after the response to the current request. uvicorn calls this when it stops."""
        self._draining = True
        if self.phase in (Phase.IDLE, Phase.HEAD):
            self.enter(Phase.CLOSING)
            self.transport.close()

    def reject_connection(self) -> None:
        """Send 503, since there are too many connections, and close."""
        self.send(_TOO_MANY_CONNECTIONS, closes=True, lingers=True)

    def received(self, data: bytes) -> None:
        """Parse up to the end of a request and no further."""
        if self.phase is Phase.IDLE:
            self._begin()
            self.enter(Phase.HEAD)
        start = 0
        while start < len(data) and self.phase in (Phase.HEAD, Phase.BODY):
            end = self._boundary(data, start)
            self._feed(data[start:end])
            start = end
        if start < len(data):
            self.keep(data[start:])

    def on_message_begin(self) -> None:
        """Reject a second request in one piece (parser): `_boundary` must end a piece where its request ends."""
        if self._complete:
            raise _MalformedError

    def on_url(self, url: bytes) -> None:
        """Add a part of the request target (parser)."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header field (parser). Drop a trailer field, which must not become one (RFC 9110 §6.5.1)."""
        if self.phase is not Phase.HEAD:
            return
        name, value = name.lower(), value.rstrip(b" \t")
        match name:
            case b"host":
                self._hosts += 1
            case b"content-length":
                self._length = int(value)
            case b"transfer-encoding":
                # RFC 9112 §6.1: any other coding leaves the end of the body, or its content, in doubt.
                if value.lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                    raise _MalformedError
                self._chunked = True
            case b"expect":
                self._expects_continue = value.lower() == b"100-continue"
            case _:
                pass
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Validate the head (parser), except the one that `_ignore_upgrade` writes."""
        if self.phase is not Phase.HEAD:
            return
        version, method = self._parser.get_http_version(), self._parser.get_method()
        allowed_hosts = (1,) if version == "1.1" else (0, 1)  # RFC 9112 §3.2
        if version not in ("1.0", "1.1") or self._hosts not in allowed_hosts or method == b"CONNECT":
            raise _MalformedError
        self._keep_alive = version == "1.1" and self._parser.should_keep_alive()
        self._scope = self._scope_of(version, method.decode("ascii"))
        self.enter(Phase.BODY)
        self._bytes = 0
        self._too_large = self._length > MAX_BODY_BYTES
        has_body = self._chunked or self._length > 0
        if self._expects_continue and version == "1.1" and has_body and not self._too_large:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Add a part of the body (parser)."""
        self._body += body

    def on_message_complete(self) -> None:
        """Note the end of a request (parser)."""
        self._complete = True

    def _begin(self) -> None:
        self._bytes = 0
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._hosts: int = 0
        self._length = 0
        self._chunked = self._expects_continue = False
        self._body = bytearray()
        self._complete = self._too_large = False

    def _boundary(self, data: bytes, start: int) -> int:
        """Return where the next piece for the parser ends, so that no piece goes beyond the end of a request.

        The parser cannot stop at the end of a request by itself. A head ends with an empty line, and so does a body
        in chunks, after its trailer. A piece that ends too early does no harm.
        """
        if self.phase is Phase.BODY and not self._chunked:
            return min(len(data), start + self._length - self._bytes)
        if start == 0 and (found := (self._tail + data[:3]).find(_EMPTY_LINE)) >= 0:
            return found + len(_EMPTY_LINE) - len(self._tail)
        found = data.find(_EMPTY_LINE, start)
        return len(data) if found < 0 else found + len(_EMPTY_LINE)

    def _feed(self, piece: bytes) -> None:
        self._bytes += len(piece)
        if self.phase is Phase.HEAD and self._bytes > MAX_HEAD_BYTES:
            self._reject("head_too_large", _HEAD_TOO_LARGE)
            return
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._ignore_upgrade()
        except httptools.HttpParserError:
            self._reject("malformed", _MALFORMED)
            return
        self._tail = (self._tail + piece)[-3:]
        if len(self._body) > MAX_BODY_BYTES or self._bytes > _MAX_CHUNKED_BYTES:
            self._too_large = True
        if self._complete or self._too_large:
            self._enqueue()
        elif self._body:
            self.connections.hold(self, len(self._body))

    def _ignore_upgrade(self) -> None:
        """Parse the body with a new parser: llhttp takes the bytes after an `Upgrade` head for another protocol.

        The new parser gets only the framing. If the body were parsed as the next request, its response could reach
        another client behind the same gateway (request smuggling).
        """
        framing = b"Transfer-Encoding: chunked" if self._chunked else b"Content-Length: %d" % self._length
        self._parser = httptools.HttpRequestParser(self)
        self._complete = False
        self._parser.feed_data(b"POST / HTTP/1.1\r\n" + framing + _EMPTY_LINE)

    def _scope_of(self, version: str, method: str) -> dict[str, Any]:
        url = httptools.parse_url(self._target)
        path = (url.path or b"/").decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": method,
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path or b"/",
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._fields,
            "client": self.transport.get_extra_info("peername"),
            "server": self.transport.get_extra_info("sockname"),
        }

    def _enqueue(self) -> None:
        self.enter(Phase.QUEUED)
        self.connections.hold(self, 0)
        # Work that waits in a queue is dropped if the client has disconnected before it starts.
        self._scope["state"] = {"is_disconnected": self.transport.is_closing, "body_too_large": self._too_large}
        if self._resumes:
            self._start()  # `resume` was in the queue already
        else:
            self.connections.queue(self._start, cheap=self._scope["method"] in _CHEAP_METHODS)

    def _start(self) -> None:
        if self.phase is not Phase.QUEUED:
            return
        self.phase = Phase.PROCESSING
        body, self._body = bytes(self._body), bytearray()
        exchange = Exchange(self._scope, b"" if self._too_large else body, self._reply)
        # A new context: values that one request binds for its log must not appear in the next.
        task = asyncio.get_running_loop().create_task(exchange.run(self._app), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _reply(self, head: bytes | None, body: bytes) -> None:
        if self.phase is not Phase.PROCESSING or self.transport.is_closing():
            return
        if head is None:
            self.transport.abort()
            return
        closes = not self._keep_alive or self._too_large or self._draining
        end = b"connection: close\r\n\r\n" if closes else b"\r\n"
        self.send(head + self._default_fields() + end, body, closes=closes, lingers=self._too_large)

    def _reject(self, reason: str, response: bytes) -> None:
        self.connections.dropped(reason)
        self.send(response, closes=True, lingers=True)


def _rejection(problem: Problem, *more_fields: tuple[bytes, bytes]) -> bytes:
    document = json.dumps(problem.document(), separators=(",", ":")).encode("ascii")
    media_type = MEDIA_TYPE.encode("ascii")
    fields = (b"content-type", media_type), (b"cache-control", b"no-store"), (b"connection", b"close"), *more_fields
    return response_head(problem.status, fields, len(document)) + b"\r\n" + document


MALFORMED: Final = Problem("malformed-request", "The request is not well-formed HTTP/1.1", 400)
HEAD_TOO_LARGE: Final = Problem("head-too-large", "The head of the request is too large", 431)
TOO_MANY_CONNECTIONS: Final = Problem("too-many-connections", "There are too many connections; try again later", 503)

_MALFORMED: Final = _rejection(MALFORMED)
_HEAD_TOO_LARGE: Final = _rejection(HEAD_TOO_LARGE)
_TOO_MANY_CONNECTIONS: Final = _rejection(TOO_MANY_CONNECTIONS, (b"retry-after", b"2"))
