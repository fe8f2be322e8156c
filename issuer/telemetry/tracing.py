"""Spans of requests and of what they wait for, where the operator asks for them; ids for log lines everywhere.

Optional twice over: without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is imported, and with it the
packages of the group `tracing` have to be there.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from shared.settings import SettingsError
from shared.trace_context import Traceparent, new_id

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class RequestSpan(Protocol):
    """A request under way."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""

    def describe(self, request_id: str, method: str, route: str, status: int) -> None:
        """Say what it was, at its end: `method` and `route` from closed sets, `status` as answered."""


class Tracing(Protocol):
    """A source of spans."""

    def request(self, parent: Traceparent | None) -> AbstractContextManager[RequestSpan]:
        """The span of a request, within its caller's trace or at the beginning of a new one."""

    def part(self, name: str) -> AbstractContextManager[None]:
        """A span of what the request waits for, within its own; none outside of requests."""

    def close(self) -> None:
        """Send what is left, within seconds."""


@dataclass(frozen=True, slots=True)
class _NoopSpan:
    trace_id: str
    span_id: str

    def describe(self, request_id: str, method: str, route: str, status: int) -> None:
        """Do nothing: this span is not recorded."""


class _NoopTracing:
    """Ids, and nothing else."""

    def request(self, parent: Traceparent | None) -> AbstractContextManager[RequestSpan]:
        trace_id = new_id(32) if parent is None else parent.trace_id
        return nullcontext(_NoopSpan(trace_id, new_id(16)))

    def part(self, name: str) -> AbstractContextManager[None]:
        del name
        return nullcontext()

    def close(self) -> None:
        """Nothing is left."""


UNTRACED: Final[Tracing] = _NoopTracing()


def open_tracing(environ: Mapping[str, str]) -> Tracing:
    """Tracing as OpenTelemetry's own variables ask for it; `UNTRACED` unless one names an endpoint.

    Raises:
        SettingsError: they ask for what cannot be.
    """
    endpoint = _first_set(_ENDPOINTS, environ)
    if endpoint is None or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return UNTRACED
    parts = urlsplit(environ[endpoint])
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError([f"{endpoint}: must be an http or https URL"])
    protocol = _first_set(_PROTOCOLS, environ)
    if protocol is not None and environ[protocol] != "http/protobuf":
        raise SettingsError([f"{protocol}: spans are sent by http/protobuf alone: set that, or unset it"])
    try:
        # Not to be paid for by those who do not ask.
        from issuer.telemetry.otlp import OtlpSpans  # noqa: PLC0415 - optional packages
    except ImportError:
        packages = "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http"
        fault = f"{endpoint}: the packages {packages} are not installed: install them, or unset it"
        raise SettingsError([fault]) from None
    return OtlpSpans(environ)


def _first_set(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next((name for name in names if environ.get(name)), None)
