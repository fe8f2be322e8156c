"""An application: its routes, the one answer to every error, and what surrounds them all."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from issuer.edge import Edge
from issuer.errors import IssuerError
from issuer.metrics import Metrics
from issuer.problems import answer_error


def build_app(routes: list[Route], metrics: Metrics, *, quiet: bool = False) -> ASGIApp:
    """An application of `routes` in which every error is a problem document; `quiet` as in `Edge`."""
    app = Starlette(
        routes=_by_path(routes),
        exception_handlers={
            IssuerError: answer_error,
            HTTPException: answer_error,
            Exception: answer_error,
        },
    )
    # A second spelling of a path is a second reading of it: /login/ is not /login.
    app.router.redirect_slashes = False
    return Edge(app, metrics, quiet=quiet)


def _by_path(routes: list[Route]) -> list[Route]:
    """One route for each path, so that `Allow` names every method of it and not those of the first."""
    paths: dict[str, list[Route]] = {}
    for route in routes:
        paths.setdefault(route.path, []).append(route)
    return [same[0] if len(same) == 1 else _joined(path, same) for path, same in paths.items()]


def _joined(path: str, routes: list[Route]) -> Route:
    endpoints = {method: route.endpoint for route in routes for method in route.methods or ()}

    async def endpoint(request: Request) -> Response:
        response: Response = await endpoints[request.method](request)
        return response

    return Route(path, endpoint, methods=list(endpoints))
