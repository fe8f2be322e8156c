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
    """Health checks and metrics for operators and orchestrators.

    Attributes:
        metrics: shown by `/metrics`.
        checks: conditions of readiness by name.
        warnings: checks, by name, for faults that an operator must fix although requests are served. They do not
            affect readiness: all issuers share such a fault, so an orchestrator would remove every issuer at once.
    """

    metrics: Metrics
    checks: Mapping[str, Check]
    warnings: Mapping[str, Check]

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.exposition, methods=["GET"]),
        ]

    async def healthz(self, _: Request) -> Response:
        """Return 200 while the process responds. Does not check dependencies: a restart would not repair them."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, _: Request) -> Response:
        """Return 200 if every check passes, else 503, with the result of each check and warning."""
        checks, warnings = await _outcomes(self.checks), await _outcomes(self.warnings)
        ready = "failing" not in checks.values()
        document = {"status": "ready" if ready else "not ready", "checks": checks, "warnings": warnings}
        return JSONResponse(document, 200 if ready else 503)

    async def exposition(self, _: Request) -> Response:
        """Return the metrics in the Prometheus text format."""
        return Response(self.metrics.exposition(), media_type=self.metrics.content_type)


async def _outcomes(checks: Mapping[str, Check]) -> dict[str, str]:
    return {name: "ok" if await _holds(check) else "failing" for name, check in checks.items()}


async def _holds(check: Check) -> bool:
    try:
        return await check()
    except UnavailableError:
        return False
