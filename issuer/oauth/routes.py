"""`POST /token`, `POST /revoke`, `POST /introspect` (RFC 6749 §3.2, RFC 7009, RFC 7662)."""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.errors import InvalidRequestError
from issuer.http.forms import read_form
from issuer.http.request_context import request_context
from issuer.oauth.errors import oauth_error_responses
from issuer.oauth.grants import Grants
from issuer.oauth.introspection import TokenIntrospection
from issuer.oauth.models import OAuthRequest
from issuer.oauth.revocation import TokenRevocation
from issuer.sessions.cookies import SessionCookies
from issuer.sessions.token_response import token_response


class OAuthRoutes:
    """The OAuth endpoints."""

    def __init__(
        self,
        grants: Grants,
        introspection: TokenIntrospection,
        revocation: TokenRevocation,
        cookies: SessionCookies,
    ) -> None:
        self._grants = grants
        self._introspection = introspection
        self._revocation = revocation
        self._cookies = cookies

    def routes(self) -> list[Route]:
        """Return the routes of the application."""
        return [
            Route("/token", self.token, methods=["POST"]),
            Route("/revoke", self.revoke, methods=["POST"]),
            Route("/introspect", self.introspect, methods=["POST"]),
        ]

    @oauth_error_responses
    async def token(self, request: Request) -> Response:
        """Respond 200 with tokens (RFC 6749 §5.1), in cookies if the refresh token came in one."""
        form = await _read(request)
        refresh_token = self._cookies.refresh_token(request) if form.get("grant_type") == "refresh_token" else None
        if refresh_token is None:
            return token_response(await self._grants.exchange(form))
        if form.get("refresh_token") is not None:
            raise InvalidRequestError
        form = replace(form, parameters={**form.parameters, "refresh_token": refresh_token})
        return self._cookies.token_response(await self._grants.refresh(form))

    @oauth_error_responses
    async def revoke(self, request: Request) -> Response:
        """Respond 200, whether or not there was a token to revoke (RFC 7009 §2.2)."""
        await self._revocation.revoke(await _read(request))
        return Response()

    @oauth_error_responses
    async def introspect(self, request: Request) -> Response:
        """Respond 200 with what the client may know about a token (RFC 7662 §2.2)."""
        return JSONResponse(await self._introspection.introspect(await _read(request)))


async def _read(request: Request) -> OAuthRequest:
    form = await read_form(request)
    return OAuthRequest(form, tuple(request.headers.getlist("authorization")), request_context(request))
