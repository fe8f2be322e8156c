"""`GET /.well-known/oauth-authorization-server`: authorization server metadata (RFC 8414)."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from issuer.http.caching import cacheable_response
from issuer.oauth.client_assertion import ALGORITHMS
from issuer.oauth.models import AuthMethod

WELL_KNOWN: Final = "/.well-known/oauth-authorization-server"
MAX_AGE_SECONDS: Final = 3600

_ENDPOINTS: Final = {
    "token_endpoint": "/token",
    "jwks_uri": "/.well-known/jwks.json",
    "revocation_endpoint": "/revoke",
    "introspection_endpoint": "/introspect",
    "status_list_aggregation_endpoint": "/status-lists",
}
_ALL_METHODS: Final = [method.value for method in AuthMethod]
_CLIENT_METHODS: Final = [method for method in _ALL_METHODS if method != AuthMethod.NONE]


class MetadataRoutes:
    """The metadata document of the issuer with the URL `issuer`."""

    def __init__(self, issuer: str) -> None:
        self._path = metadata_path(issuer)
        self._document = json.dumps(metadata(issuer), separators=(",", ":")).encode()

    def routes(self) -> list[Route]:
        """Return the routes of the application."""
        return [Route(self._path, self.document, methods=["GET"])]

    async def document(self, request: Request) -> Response:
        """Respond 200 with the document."""
        return cacheable_response(request, self._document, "application/json", MAX_AGE_SECONDS)


def metadata_path(issuer: str) -> str:
    """Return the path of the document: the well-known part precedes the path of the issuer (RFC 8414 §3.1)."""
    return WELL_KNOWN + urlsplit(issuer).path.rstrip("/")


def endpoint_urls(issuer: str) -> frozenset[str]:
    """Return the accepted audiences of client assertions: the issuer, and the endpoints that authenticate clients."""
    where_clients_authenticate = ("token_endpoint", "revocation_endpoint", "introspection_endpoint")
    return frozenset({issuer, *(_url(issuer, _ENDPOINTS[name]) for name in where_clients_authenticate)})


def metadata(issuer: str) -> dict[str, Any]:
    """Return the members of RFC 8414 §2, and `status_list_aggregation_endpoint` of the status list draft §9.1."""
    return {
        "issuer": issuer,
        **{name: _url(issuer, path) for name, path in _ENDPOINTS.items()},
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        **_authentication("token", _ALL_METHODS),
        **_authentication("revocation", _ALL_METHODS),
        **_authentication("introspection", _CLIENT_METHODS),
    }


def _authentication(endpoint: str, methods: list[str]) -> dict[str, list[str]]:
    return {
        f"{endpoint}_endpoint_auth_methods_supported": methods,
        f"{endpoint}_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
    }


def _url(issuer: str, path: str) -> str:
    return issuer.rstrip("/") + path
