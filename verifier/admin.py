"""Health, readiness and metrics, on a listener of their own that no gateway path leads to."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from verifier.subrequest.http_connection import Connection
from verifier.subrequest.http_server import HttpServer

MAX_CONNECTIONS: Final = 64
_TEXT: Final = "text/plain; charset=utf-8"


class AdminPages:
    """The pages of the admin listener.

    Args:
        unhealthy_reasons: returns the faults that only a restart repairs.
        not_ready_reasons: returns the reasons to send no requests here; empty when ready.
        missing: returns what is missing to verify the tokens of some issuers; it is also shown when ready.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        unhealthy_reasons: Callable[[], list[str]],
        not_ready_reasons: Callable[[], list[str]],
        missing: Callable[[], list[str]],
    ) -> None:
        self._registry = registry
        self._unhealthy_reasons, self._not_ready_reasons = unhealthy_reasons, not_ready_reasons
        self._missing = missing

    def respond(self, method: bytes, target: bytes) -> bytes:
        """Return the response to one request, as the bytes of an HTTP/1.1 response."""
        if method not in (b"GET", b"HEAD"):
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, b"method not allowed\n", allow="GET, HEAD")
        status, content_type, body = self._page(target.partition(b"?")[0])
        response = _response(status, body, content_type)
        return response.removesuffix(body) if method == b"HEAD" else response

    def _page(self, path: bytes) -> tuple[HTTPStatus, str, bytes]:
        match path:
            case b"/healthz":
                return _state("healthy", self._unhealthy_reasons())
            case b"/readyz":
                return _state("ready", self._not_ready_reasons(), self._missing())
            case b"/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
            case _:
                return HTTPStatus.NOT_FOUND, _TEXT, b"not found: see /healthz, /readyz, /metrics\n"


class AdminConnection(Connection):
    """A connection of a prober or of Prometheus."""

    __slots__ = ("_pages",)

    def __init__(self, server: HttpServer, pages: AdminPages) -> None:
        super().__init__(server)
        self._pages = pages

    def _respond(self) -> bytes:
        return self._pages.respond(self._parser.get_method(), self._target)


def _state(name: str, reasons: list[str], missing: Sequence[str] = ()) -> tuple[HTTPStatus, str, bytes]:
    if reasons:
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, f"not {name}: {'; '.join(reasons)}\n".encode()
    return HTTPStatus.OK, _TEXT, f"{'; '.join([name, *missing])}\n".encode()


def _response(status: HTTPStatus, body: bytes, content_type: str = _TEXT, allow: str | None = None) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *([f"Allow: {allow}"] if allow else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
