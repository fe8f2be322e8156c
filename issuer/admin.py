"""The operator's application, on its own listener: liveness, readiness, metrics. No account data."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.errors import UnavailableError
from issuer.metrics import Metrics

Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class AdminRoutes:
    """What operators and orchestrators ask.

    Attributes:
        metrics: what `/metrics` shows.
        checks: what must hold before requests are sent here, by name.
    """

    metrics: Metrics
    checks: Mapping[str, Check]

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.exposition, methods=["GET"]),
        ]

    async def healthz(self, _: Request) -> Response:
        """200 while the process answers at all. Nothing outside it counts: a restart would not help."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        """200 if every check holds, else 503 with the names of those that do not."""
        results = {name: await _holds(check) for name, check in self.checks.items()}
        ready = all(results.values())
        document = {
            "status": "ready" if ready else "not ready",
            "checks": {name: "ok" if held else "failing" for name, held in results.items()},
        }
        return JSONResponse(document, 200 if ready else 503)

    async def exposition(self, _: Request) -> Response:
        """The Prometheus text format."""
        return Response(self.metrics.exposition(), media_type=self.metrics.content_type)


async def _holds(check: Check) -> bool:
    try:
        return await check()
    except UnavailableError:
        return False
