"""Spans of requests and of their waits, if tracing is configured. Log lines have trace and span ids in any case.

Without OTEL_EXPORTER_OTLP_ENDPOINT, no package of OpenTelemetry is imported. With it, the packages of the group
`tracing` must be installed.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from shared.settings import SettingsError
from shared.trace_context import Traceparent, new_id

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """The span of a request; this one is not recorded.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
    """

    trace_id: str
    span_id: str

    def describe(self, request_id: str, method: str, route: str, status: int) -> None:
        """Set the attributes of a finished request. `method` and `route` are from closed sets."""


class Tracing:
    """A source of spans; this one creates ids and records nothing."""

    def request(self, parent: Traceparent | None) -> AbstractContextManager[RequestSpan]:
        """Open the span of a request, in the caller's trace or in a new one."""
        trace_id = new_id(32) if parent is None else parent.trace_id
        return nullcontext(RequestSpan(trace_id, new_id(16)))

    def part(self, name: str) -> AbstractContextManager[None]:
        """Open a span of one wait, within the span of the request; none outside of requests."""
        del name
        return nullcontext()

    def close(self) -> None:
        """Send the remaining spans, within seconds."""


UNTRACED: Final = Tracing()


def open_tracing(environ: Mapping[str, str]) -> Tracing:
    """Return tracing as configured by OpenTelemetry's variables; `UNTRACED` without an endpoint.

    Raises:
        SettingsError: a variable is invalid, or packages are missing.
    """
    endpoint = _first_set(_ENDPOINTS, environ)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return UNTRACED
    parts = urlsplit(environ[endpoint])
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError([f"{endpoint}: must be an http or https URL"])
    protocol = _first_set(_PROTOCOLS, environ)
    if protocol is not None and environ[protocol] != "http/protobuf":
        raise SettingsError([f"{protocol}: must be http/protobuf or unset"])
    try:
        # Here, since the import takes start time and memory.
        from issuer.telemetry.otlp import OtlpSpans  # noqa: PLC0415 - optional packages
    except ImportError:
        packages = "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
        raise SettingsError([f"{endpoint}: install {packages}, or unset it"]) from None
    return OtlpSpans(environ)


def _first_set(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next((name for name in names if environ.get(name)), None)
