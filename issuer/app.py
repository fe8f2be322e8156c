"""An application: its routes, the one answer to every error, and what surrounds them all."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from issuer.edge import Edge
from issuer.errors import IssuerError
from issuer.metrics import Metrics
from issuer.problems import answer_error


def build_app(routes: list[Route], metrics: Metrics, trusted_hops: int = 0, *, quiet: bool = False) -> ASGIApp:
    """An application of `routes` in which every error is a problem document; the rest as in `Edge`."""
    app = Starlette(
        routes=routes,
        exception_handlers={
            IssuerError: answer_error,
            HTTPException: answer_error,
            Exception: answer_error,
        },
    )
    # A second spelling of a path is a second reading of it: /login/ is not /login.
    app.router.redirect_slashes = False
    return Edge(app, metrics, trusted_hops, quiet=quiet)
