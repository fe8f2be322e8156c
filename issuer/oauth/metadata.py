"""`GET /.well-known/oauth-authorization-server` (RFC 8414): what an OAuth client can find here.

Made from the routes that are served, so that it cannot advertise one that is not.
"""

import json
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from issuer.http.caching import cached
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
_MACHINES: Final = [method.value for method in AuthMethod]
_ANYBODY: Final = [*_MACHINES, "none"]
"""Our own applications authenticate by nothing but the token that they hold."""


class MetadataRoutes:
    """The document about one issuer.

    Args:
        issuer: its URL.
        served: the paths that the application serves.
    """

    def __init__(self, issuer: str, served: Collection[str]) -> None:
        self._path = metadata_path(issuer)
        self._document = json.dumps(metadata(issuer, served), separators=(",", ":")).encode()

    def routes(self) -> list[Route]:
        """For the application."""
        return [Route(self._path, self.document, methods=["GET"])]

    async def document(self, request: Request) -> Response:
        """200 and the document."""
        return cached(request, self._document, "application/json", MAX_AGE_SECONDS)


def metadata_path(issuer: str) -> str:
    """RFC 8414 §3.1: the well-known part goes between the host and the path of the issuer."""
    return WELL_KNOWN + urlsplit(issuer).path.rstrip("/")


def endpoint_urls(issuer: str) -> frozenset[str]:
    """Every URL by which a client may mean us: the issuer's own, and those where it authenticates."""
    where_clients_authenticate = ("token_endpoint", "revocation_endpoint", "introspection_endpoint")
    return frozenset({issuer, *(_url(issuer, _ENDPOINTS[name]) for name in where_clients_authenticate)})


def metadata(issuer: str, served: Collection[str]) -> dict[str, Any]:
    """The members of RFC 8414 §2, and `status_list_aggregation_endpoint` of the status list draft §9.2."""
    endpoints = {name: _url(issuer, path) for name, path in _ENDPOINTS.items() if path in served}
    return {
        "issuer": issuer,
        **endpoints,
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        **_authentication("token", _ANYBODY),
        **_authentication("revocation", _ANYBODY),
        **_authentication("introspection", _MACHINES),
    }


def _authentication(endpoint: str, methods: list[str]) -> dict[str, list[str]]:
    return {
        f"{endpoint}_endpoint_auth_methods_supported": methods,
        f"{endpoint}_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
    }


def _url(issuer: str, path: str) -> str:
    return issuer.rstrip("/") + path
