"""The tokens of a session in cookies that no script can read, for pages of listed origins (ADR 0125).

A browser adds cookies also to requests that other pages cause. So a request that sends or requests cookies must come
from one of the origins. The verifier applies the same rule.
"""

from collections.abc import Collection
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from issuer.errors import CrossOriginError, FieldFault, InvalidFieldsError
from issuer.sessions.models import TokenPair
from shared.cookies import cookie_values
from shared.same_origin import BrowserFields, is_same_origin

ACCESS_TOKEN: Final = "__Host-access_token"  # noqa: S105 - a name
REFRESH_TOKEN: Final = "__Host-refresh_token"  # noqa: S105 - a name
"""Browsers accept a cookie with the prefix `__Host-` only from this host, over TLS, and for all of its paths: a page
of another subdomain or of plain http can set none and overwrite none (RFC 6265bis §4.1.3.2)."""


class SessionCookies:
    """The cookies of sessions, and the rule for their use.

    Args:
        origins: the origins of pages that may use cookies. Without any, cookies are neither set nor read.
    """

    def __init__(self, origins: Collection[str]) -> None:
        self._origins: Final = frozenset(origin.encode() for origin in origins)

    def check_login(self, request: Request) -> None:
        """Check a login that requests cookies.

        Raises:
            InvalidFieldsError: there are no origins.
            CrossOriginError: the request does not come from one of the origins.
        """
        if not self._origins:
            raise InvalidFieldsError(FieldFault("cookies", "is not supported: this issuer sets no cookies"))
        self._require_same_origin(request)

    def refresh_token(self, request: Request) -> str | None:
        """Return the refresh token in the cookie of a request; None if there is no such cookie.

        Raises:
            CrossOriginError: there is one, and the request does not come from one of the origins.
        """
        if not self._origins:
            return None
        field = "; ".join(request.headers.getlist("cookie")).encode("latin-1")
        values = cookie_values(field, REFRESH_TOKEN.encode())
        if not values:
            return None
        self._require_same_origin(request)
        # Two cookies are joined to a value that is never valid.
        return b", ".join(values).decode("latin-1")

    def token_response(self, tokens: TokenPair) -> Response:
        """Respond 200 with the tokens in cookies, and none in the body."""
        response = JSONResponse({"expires_in": tokens.expires_in, "scope": tokens.scope})
        _set(response, ACCESS_TOKEN, tokens.access_token, tokens.expires_in)
        _set(response, REFRESH_TOKEN, tokens.refresh_token, tokens.session_expires_in)
        return response

    def clear(self, response: Response) -> Response:
        """Delete both cookies with this response."""
        _set(response, ACCESS_TOKEN, "", 0)
        _set(response, REFRESH_TOKEN, "", 0)
        return response

    def _require_same_origin(self, request: Request) -> None:
        fields = BrowserFields(request.method.encode(), _field(request, "sec-fetch-site"), _field(request, "origin"))
        # If the issuer is served at another host too, pages of that host are of the same origin, but are not listed.
        if not is_same_origin(fields, self._origins) or fields.origin not in {None, *self._origins}:
            raise CrossOriginError


def _field(request: Request, name: str) -> bytes | None:
    """Return a header field. Two fields are joined to a value that is never accepted."""
    values = request.headers.getlist(name)
    return ", ".join(values).encode("latin-1") if values else None


def _set(response: Response, name: str, value: str, seconds: int) -> None:
    # Not `Lax`, which sends the cookie with links of other sites: those get 403 (ADR 0122).
    response.set_cookie(name, value, seconds, path="/", secure=True, httponly=True, samesite="strict")
