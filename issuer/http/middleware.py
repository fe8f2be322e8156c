"""The outermost ASGI middleware: request ids, client IPs, access log, unexpected exceptions.

The log has the route of a request and never its path, query, header fields or body, which may hold secrets.
An unexpected exception is logged with its type and stack frames, without its message.
"""

import logging
import time
from functools import cache
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from issuer.http.problems import problem_response
from issuer.telemetry.metrics import Metrics
from issuer.telemetry.tracing import RequestSpan, Tracing
from issuer.throttling.client_ip import client_ip
from shared.logs import frames_of
from shared.trace_context import parse_request_id, parse_traceparent

_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

CLIENT_CLOSED_REQUEST: Final = 499
"""Status in log and metrics, never sent: the client disconnected before the response (as in nginx)."""

_WARNING_SECONDS: Final = 3600
"""Pause after a warning about X-Forwarded-For, since any client may send that field."""

_log = structlog.get_logger(__name__)


class RequestMiddleware:
    """Middleware around an ASGI application.

    Args:
        trusted_proxy_hops: number of trusted proxies in front, whose X-Forwarded-For is used.
        quiet: log requests at debug level, for endpoints that are polled.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        trusted_proxy_hops: int,
        tracing: Tracing,
        *,
        quiet: bool,
    ) -> None:
        self._app = app
        # Cached: to find the counter of some labels takes longer than to count. The labels are from closed sets.
        self._count = cache(metrics.requests.labels)
        self._time = cache(metrics.request_seconds.labels)
        self._trusted_proxy_hops = trusted_proxy_hops
        self._tracing = tracing
        self._level = logging.DEBUG if quiet else logging.INFO
        self._next_warning = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request (ASGI)."""
        peer = (scope.get("client") or (None,))[0]
        values: dict[bytes, list[str]] = {b"x-request-id": [], b"x-forwarded-for": [], b"traceparent": []}
        for name, value in scope["headers"]:
            if name in values:
                values[name].append(value.decode("latin-1"))
        forwarded = values[b"x-forwarded-for"]
        ip = client_ip(peer, forwarded, self._trusted_proxy_hops)
        if forwarded and not self._trusted_proxy_hops:
            self._warn_of_proxy(ip)
        request_id = parse_request_id(values[b"x-request-id"])
        scope["state"].update(request_id=request_id, client_ip=ip)
        with self._tracing.request(parse_traceparent(values[b"traceparent"])) as span:
            # For the log. Each request has a context of its own (`protocol.py`), so nothing has to be unbound.
            structlog.contextvars.bind_contextvars(
                request_id=request_id, trace_id=span.trace_id, span_id=span.span_id
            )
            started_at = time.perf_counter()
            status = await self._respond(scope, receive, send)
            self._record(scope, span, status, time.perf_counter() - started_at)

    def _warn_of_proxy(self, ip: str | None) -> None:
        """Warn that there seems to be a proxy in front. All its clients then share one rate limit."""
        now = time.monotonic()
        if now >= self._next_warning:
            self._next_warning = now + _WARNING_SECONDS
            _log.warning(
                "forwarded_header_ignored",
                client_ip=ip or "",
                hint="if your proxy sends X-Forwarded-For, set ISSUER_TRUSTED_PROXY_HOPS to the number of proxies; "
                "until then all its clients share one rate limit",
            )

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Run the application, and return the status for log and metrics."""
        status = 0

        async def send_with_fields(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = CLIENT_CLOSED_REQUEST if scope["state"]["is_disconnected"]() else message["status"]
                message["headers"] = _completed(message["headers"], scope["state"]["request_id"])
            await send(message)

        try:
            await self._app(scope, receive, send_with_fields)
        except Exception as error:  # noqa: BLE001 - no exception may leave the application
            _log.error("unexpected_exception", kind=type(error).__name__, frames=frames_of(error))
            if not status:
                await problem_response(error)(scope, receive, send_with_fields)
        return status

    def _record(self, scope: Scope, span: RequestSpan, status: int, seconds: float) -> None:
        state, route = scope["state"], scope.get("route", "unmatched")
        method = scope["method"] if scope["method"] in _KNOWN_METHODS else "other"
        self._count(route, method, status).inc()
        self._time(route).observe(seconds)
        span.describe(state["request_id"], method, route, status)
        _log.log(
            # At debug level: every verifier fetches the public documents every two seconds.
            logging.DEBUG if "public_document" in state else self._level,
            "client_disconnected" if status == CLIENT_CLOSED_REQUEST else "request",
            method=method,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            client_ip=state["client_ip"] or "",
        )


def _completed(fields: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the header fields to send, in a new list: other requests may get the same response (`caching.py`)."""
    completed = [*fields, (b"x-request-id", request_id.encode("latin-1")), (b"x-content-type-options", b"nosniff")]
    if b"cache-control" not in dict(fields):
        completed.append((b"cache-control", b"no-store"))
    return completed
