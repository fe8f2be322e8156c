"""`GET /.well-known/jwks.json`, `GET /openapi.json`: public, cacheable documents."""

from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from issuer.errors import NoSigningKeyError
from issuer.http.caching import cacheable_response
from issuer.keys.watcher import KeyWatcher

_OPENAPI_MAX_AGE_SECONDS: Final = 3600


class DocumentRoutes:
    """Endpoints of public documents.

    Args:
        key_watcher: provides the public keys.
        jwks_max_age_seconds: `max-age` of the key set, on which the delay of a promotion depends.
    """

    def __init__(self, key_watcher: KeyWatcher, jwks_max_age_seconds: int) -> None:
        self._key_watcher = key_watcher
        self._jwks_max_age_seconds = jwks_max_age_seconds
        self._openapi = files("issuer.http").joinpath("openapi.json").read_bytes()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/.well-known/jwks.json", self.jwks, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def jwks(self, request: Request) -> Response:
        """Return the public keys (RFC 7517)."""
        if not self._key_watcher.key_set.keys:
            # Clients would cache an empty set. They retry after an error.
            raise NoSigningKeyError
        return cacheable_response(
            request, self._key_watcher.key_set.jwks, "application/jwk-set+json", self._jwks_max_age_seconds
        )

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document."""
        return cacheable_response(request, self._openapi, "application/json", _OPENAPI_MAX_AGE_SECONDS)
