"""Health, readiness and metrics, on a listener of their own that no gateway path leads to."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from verifier.metrics import Name, Pages

_TEXT: Final = "text/plain; charset=utf-8"

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


class AdminApp:
    """An ASGI application.

    Args:
        pages: of all workers: any of them can answer for all.
        lacking: what the answering worker can't decide without, in words; empty when it is ready.
        refresh: brings gauges up to date before they are read.
    """

    def __init__(self, pages: Pages, lacking: Callable[[], list[str]], refresh: Callable[[], None]) -> None:
        self._pages, self._lacking, self._refresh = pages, lacking, refresh
        self._registry = CollectorRegistry()
        self._registry.register(pages)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        if scope["type"] != "http":
            return
        status, kind, body = self._respond(scope["method"], scope["path"])
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _respond(self, method: str, path: str) -> tuple[int, str, bytes]:
        if method not in ("GET", "HEAD"):
            return 405, _TEXT, b"method not allowed\n"
        match path:
            case "/healthz":
                return 200, _TEXT, b"alive\n"
            case "/readyz":
                return self._readiness()
            case "/metrics":
                self._refresh()
                return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry)
            case _:
                return 404, _TEXT, b"not found: /healthz, /readyz and /metrics are here\n"

    def _readiness(self) -> tuple[int, str, bytes]:
        if lacking := self._lacking():
            return 503, _TEXT, f"not ready: {'; '.join(lacking)}\n".encode()
        if not self._pages.joined()[Name.READY, ()]:
            return 503, _TEXT, b"not ready: a worker is starting or stopping\n"
        return 200, _TEXT, b"ready\n"
