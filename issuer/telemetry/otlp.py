"""Records spans with the SDK of OpenTelemetry and sends them by OTLP/HTTP. Imported only if tracing is configured.

A span holds route, method and status, as metrics do, and never a header, a query, a path, a body, a statement or
the message of an exception. No request fails or waits because of its span: a thread sends spans, and drops them if
no collector accepts them. The SDK reads its own variables (sampler, headers, limits) from the environment.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from issuer.telemetry.tracing import RequestSpan, Tracing
from shared.trace_context import Traceparent

_TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_EXPORT_SECONDS: Final = 3.0
"""Our default. With that of the SDK, 10 s, more spans wait than its queue holds."""

_CLOSE_SECONDS: Final = 2.0
_REPEAT_LOG_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _RecordedSpan(RequestSpan):
    span: trace.Span

    def describe(self, request_id: str, method: str, route: str, status: int) -> None:
        """Set the attributes of the semantic conventions for HTTP servers."""
        self.span.update_name(f"{method} {route}")
        self.span.set_attribute("http.request.method", method)
        self.span.set_attribute("http.route", route)
        self.span.set_attribute("http.response.status_code", status)
        self.span.set_attribute("gatepass.request_id", request_id)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.span.set_status(trace.StatusCode.ERROR)


class RateLimitFilter(logging.Filter):
    """A filter that passes one line a minute: the exporter logs two for every batch that a collector rejects.

    Args:
        monotonic: returns seconds of a clock that never steps.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._passed_at: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether no line has passed in the last minute."""
        del record
        now = self._monotonic()
        if self._passed_at is not None and now - self._passed_at < _REPEAT_LOG_SECONDS:
            return False
        self._passed_at = now
        return True


class OtlpSpans(Tracing):
    """Spans that a thread sends.

    Args:
        environ: the environment, for a timeout that the operator has set.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        named = Resource({"service.name": "gatepass-issuer"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=Resource.create().merge(named), shutdown_on_exit=False)
        timeout = None if any(environ.get(name) for name in _TIMEOUTS) else _EXPORT_SECONDS
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(RateLimitFilter())
        self._tracer = self._provider.get_tracer("gatepass.issuer")

    @contextmanager
    def request(self, parent: Traceparent | None) -> Iterator[_RecordedSpan]:
        """Record the span of a request; `part` records spans within it."""
        span = self._tracer.start_span("request", _caller(parent), kind=trace.SpanKind.SERVER)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            ids = span.get_span_context()
            yield _RecordedSpan(trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id), span)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Record a span within the current one, if that is recorded. Only the type of an exception is recorded."""
        if not trace.get_current_span().is_recording():
            yield
            return
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise

    def close(self) -> None:
        """Send the remaining spans, for at most `_CLOSE_SECONDS` if a collector hangs."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def _caller(parent: Traceparent | None) -> context.Context:
    """Return a context with the caller's span alone, or an empty one for a new trace."""
    empty = context.Context()
    if parent is None:
        return empty
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
    caller = trace.SpanContext(int(parent.trace_id, 16), int(parent.parent_id, 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(caller), empty)
