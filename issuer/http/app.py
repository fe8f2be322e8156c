"""Builds ASGI applications: routing, problem documents for errors, and the middleware.

Requests are routed here and not by Starlette, whose Request, Response and Route are used. Its application puts five
layers around an endpoint, which took a third of the time of a response from memory (ADR 0111).
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from re import Pattern
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from issuer.errors import IssuerError, MethodNotAllowedError, NotFoundError
from issuer.http.middleware import RequestMiddleware
from issuer.http.problems import problem_response
from issuer.telemetry.metrics import Metrics
from issuer.telemetry.tracing import UNTRACED, Tracing

Endpoint = Callable[[Request], Awaitable[Response]]

_EXPOSED_FIELDS: Final = ("ETag", "Retry-After", "WWW-Authenticate", "X-Request-Id")
"""Response fields that scripts of other origins may read, beside those of the Fetch standard's safelist."""


def build_app(
    routes: list[Route],
    metrics: Metrics,
    trusted_proxy_hops: int = 0,
    tracing: Tracing = UNTRACED,
    *,
    quiet: bool = False,
    cors_origins: Collection[str] = (),
) -> ASGIApp:
    """Return an application of `routes` in `RequestMiddleware`, whose errors are problem documents.

    Pages of `cors_origins` may read the responses. CORS never allows credentials, since the page itself sets
    `Authorization`.
    """
    app: ASGIApp = Application(routes)
    if cors_origins:
        methods = sorted({method for route in routes for method in route.methods or ()})
        app = CORSMiddleware(
            app,
            allow_origins=frozenset(cors_origins),
            allow_methods=methods,
            allow_headers=["Authorization"],
            expose_headers=_EXPOSED_FIELDS,
        )
    return RequestMiddleware(app, metrics, trusted_proxy_hops, tracing, quiet=quiet)


@dataclass(frozen=True, slots=True)
class _Resource:
    """The handlers of one path.

    Attributes:
        path: the path of its routes, for logs and metrics, such as `/sessions/{id}`.
        pattern: matches the paths of requests.
        endpoints: the handlers by method.
    """

    path: str
    pattern: Pattern[str]
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    async def respond(self, request: Request) -> Response:
        endpoint = self.endpoints.get(request.method)
        if endpoint is not None:
            return await endpoint(request)
        allow = ", ".join(sorted(self.endpoints))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": f"{allow}, OPTIONS"})
        raise MethodNotAllowedError(allow)


class Application:
    """A router (ASGI). Each path has one spelling: /login/ is not /login."""

    def __init__(self, routes: Iterable[Route]) -> None:
        resources: dict[str, _Resource] = {}
        for route in routes:
            resource = resources.setdefault(route.path, _Resource(route.path, compile_path(route.path)[0]))
            resource.endpoints.update(dict.fromkeys(route.methods or (), route.endpoint))
        self._fixed: Final = {path: resource for path, resource in resources.items() if "{" not in path}
        self._others: Final = [resource for path, resource in resources.items() if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request. Exceptions other than `IssuerError` are left to `RequestMiddleware`."""
        try:
            response = await self._resource(scope).respond(Request(scope, receive))
        except IssuerError as error:
            response = problem_response(error)
        await response(scope, receive, send)

    def _resource(self, scope: Scope) -> _Resource:
        path = scope["path"]
        resource, parameters = self._fixed.get(path), {}
        if resource is None:
            for resource in self._others:
                if found := resource.pattern.fullmatch(path):
                    parameters = found.groupdict()
                    break
            else:
                raise NotFoundError
        scope["route"], scope["path_params"] = resource.path, parameters
        return resource
