"""The operator's application, on its own listener: liveness, readiness, metrics. No account data."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.errors import UnavailableError
from issuer.telemetry.metrics import Metrics

Check = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class AdminRoutes:
    """What operators and orchestrators ask.

    Attributes:
        metrics: what `/metrics` shows.
        checks: what must hold before requests are sent here, by name.
        warnings: what an operator has to restore, by name, although requests are served. They do not count for
            readiness: what all issuers share fails in all of them at once, and an orchestrator would take the whole
            service away.
    """

    metrics: Metrics
    checks: Mapping[str, Check]
    warnings: Mapping[str, Check]

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
        """200 if every check holds, else 503; both with the outcome of each check and of each warning."""
        checks, warnings = await _outcomes(self.checks), await _outcomes(self.warnings)
        ready = "failing" not in checks.values()
        document = {"status": "ready" if ready else "not ready", "checks": checks, "warnings": warnings}
        return JSONResponse(document, 200 if ready else 503)

    async def exposition(self, _: Request) -> Response:
        """The Prometheus text format."""
        return Response(self.metrics.exposition(), media_type=self.metrics.content_type)


async def _outcomes(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: "ok" if await _holds(check) else "failing" for name, check in checks.items()}


async def _holds(check: Check) -> bool:
    try:
        return await check()
    except UnavailableError:
        return False
