"""A receiver of spans by OTLP over HTTP, like a collector."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.http_listener import Handler, serving


@dataclass(frozen=True)
class Received:
    """The parts of a span that tests need."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    failed: bool
    attributes: dict[str, str | int]

    @property
    def is_of_a_server(self) -> bool:
        return self.kind == Span.SPAN_KIND_SERVER


@dataclass
class Receiver:
    """The received spans; `bodies` are the raw requests, to search them for secrets."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.bodies.append(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {pair.key: pair.value.string_value for pair in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                self.spans += [_received(span, named["service.name"]) for span in of_scope.spans]

    def of_trace(self, trace_id: str) -> list[Received]:
        return [span for span in self.spans if span.trace_id == trace_id]


def _received(span: Span, service: str) -> Received:
    return Received(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.status.code == span.status.STATUS_CODE_ERROR,
        {pair.key: pair.value.int_value or pair.value.string_value for pair in span.attributes},
    )


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    """Yield a receiver in a thread of this process."""
    receiver = Receiver()

    class Collector(Handler):
        def on_request(self) -> None:
            receiver.take(self.path, self.body())
            self.respond(200, ("Content-Type", "application/x-protobuf"))

    with serving(Collector) as receiver.url:
        yield receiver
