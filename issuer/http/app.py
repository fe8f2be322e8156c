"""An application: its routes, the one answer to every error, and what surrounds them all."""

from itertools import groupby

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from issuer.errors import IssuerError
from issuer.http.middleware import Edge
from issuer.http.problems import answer_error
from issuer.telemetry.metrics import Metrics
from issuer.telemetry.tracing import UNTRACED, Tracing


def build_app(
    routes: list[Route],
    metrics: Metrics,
    trusted_proxy_hops: int = 0,
    tracing: Tracing = UNTRACED,
    *,
    quiet: bool = False,
) -> ASGIApp:
    """An application of `routes` in which every error is a problem document; the rest as in `Edge`."""
    app = Starlette(
        routes=_one_for_each_path(routes),
        exception_handlers={
            IssuerError: answer_error,
            HTTPException: answer_error,
            Exception: answer_error,
        },
    )
    # A second spelling of a path is a second reading of it: /login/ is not /login.
    app.router.redirect_slashes = False
    return Edge(app, metrics, trusted_proxy_hops, tracing, quiet=quiet)


def _one_for_each_path(routes: list[Route]) -> list[Route]:
    """Join the methods of a path: Starlette's 405 and `Allow` would know those of its first route alone."""
    paths = list(dict.fromkeys(route.path for route in routes))
    ordered = sorted(routes, key=lambda route: paths.index(route.path))
    return [_joined(list(group)) for _, group in groupby(ordered, key=lambda route: route.path)]


def _joined(routes: list[Route]) -> Route:
    if len(routes) == 1:
        return routes[0]
    endpoints = {method: route.endpoint for route in routes for method in route.methods or ()}

    async def answer(request: Request) -> Response:
        response: Response = await endpoints[request.method](request)
        return response

    return Route(routes[0].path, answer, methods=list(endpoints))
