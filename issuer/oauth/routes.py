"""`POST /token`, `POST /revoke`, `POST /introspect`: what OAuth clients ask (RFC 6749 §3.2, RFC 7009, RFC 7662).

Errors are those of RFC 6749 §5.2 and no others.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.errors import (
    InvalidClientError,
    InvalidTargetError,
    InvalidTokenRequestError,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
)
from issuer.http.forms import read_form
from issuer.http.request_context import request_context
from issuer.oauth.client_authentication import client_proof
from issuer.oauth.clients import Clients
from issuer.oauth.errors import in_oauth_words
from issuer.oauth.models import Client
from issuer.oauth.presented_tokens import Introspection, PresentedTokens
from issuer.sessions.service import Sessions
from issuer.sessions.token_response import NO_CACHE, token_document
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import FIRST_PARTY_CLIENT

Form = dict[str, str]


class OAuthRoutes:
    """The OAuth endpoints, over the use cases they speak for."""

    def __init__(
        self, issuer: str, sessions: Sessions, clients: Clients, tokens: AccessTokens, presented: PresentedTokens
    ) -> None:
        self._issuer = issuer
        self._sessions = sessions
        self._clients = clients
        self._tokens = tokens
        self._presented = presented

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/token", self.token, methods=["POST"]),
            Route("/revoke", self.revoke, methods=["POST"]),
            Route("/introspect", self.introspect, methods=["POST"]),
        ]

    @in_oauth_words
    async def token(self, request: Request) -> Response:
        """200 and tokens (RFC 6749 §5.1)."""
        form = await read_form(request)
        match form.get("grant_type"):
            case None:
                raise InvalidTokenRequestError
            case "refresh_token":
                return await self._refresh(request, form)
            case "client_credentials":
                return await self._client_credentials(request, form)
            case _:
                raise UnsupportedGrantTypeError

    @in_oauth_words
    async def revoke(self, request: Request) -> Response:
        """200, whether or not there was anything to revoke (RFC 7009 §2.2). Hints are not needed."""
        form = await read_form(request)
        client = await self._client_of(request, form)
        if client is None and form.get("client_id") != FIRST_PARTY_CLIENT:
            raise InvalidClientError
        context = request_context(request, "self" if client is None else "client")
        await self._presented.revoke(_required(form, "token"), client, context)
        return Response()

    @in_oauth_words
    async def introspect(self, request: Request) -> Response:
        """200 and what the client may know about a token (RFC 7662 §2.2)."""
        form = await read_form(request)
        client = await self._client_of(request, form)
        if client is None:
            raise InvalidClientError
        found = await self._presented.introspect(_required(form, "token"), client)
        return JSONResponse({"active": False} if found is None else self._introspection_document(found))

    async def _refresh(self, request: Request, form: Form) -> Response:
        """RFC 6749 §6. The scope stays what the account has: a request for less is not served as more."""
        if await self._client_of(request, form) is not None:
            # Machines get new tokens by asking for them (RFC 6749 §4.4.3); no session is theirs.
            raise UnauthorizedClientError
        refresh_token = _required(form, "refresh_token")
        client_id = form.get("client_id", FIRST_PARTY_CLIENT)
        issued = await self._sessions.refresh(refresh_token, client_id, request_context(request))
        return JSONResponse(token_document(issued), headers=NO_CACHE)

    async def _client_credentials(self, request: Request, form: Form) -> Response:
        """RFC 6749 §4.4: an access token and nothing to refresh it with."""
        # First, because an assertion is good once and without a key there would be no answer to it.
        self._tokens.require_key()
        client = await self._client_of(request, form)
        if client is None:
            raise InvalidClientError
        grant = await self._clients.grant(client, form.get("scope"), _target(form))
        issued = await self._tokens.mint(grant)
        document = {"access_token": issued.token, "token_type": "Bearer", "expires_in": issued.expires_in}
        # The grammar of RFC 6749 §3.3 has no empty scope: a client without any is told of none.
        return JSONResponse(document | ({"scope": issued.scope} if issued.scope else {}), headers=NO_CACHE)

    async def _client_of(self, request: Request, form: Form) -> Client | None:
        """The client that has proven itself; None if the request does not try to."""
        proof = client_proof(request, form)
        return None if proof is None else await self._clients.authenticate(proof, request_context(request, "client"))

    def _introspection_document(self, found: Introspection) -> dict[str, Any]:
        members = {
            "active": True,
            "iss": self._issuer,
            "sub": found.subject,
            "client_id": found.client_id,
            "scope": found.scope or None,
            "aud": found.audience,
            "exp": found.expires_at,
            "iat": found.issued_at,
            "jti": found.jti,
            "token_type": found.token_type,
            "sid": None if found.session_id is None else str(found.session_id),
        }
        return {name: value for name, value in members.items() if value is not None}


def _required(form: Form, name: str) -> str:
    if name not in form:
        raise InvalidTokenRequestError
    return form[name]


def _target(form: Form) -> str | None:
    """Whom the token is for: `resource` of RFC 8707 §2, or `audience` as others call it, but not two of them."""
    named = {form[name] for name in ("resource", "audience") if name in form}
    if len(named) > 1:
        raise InvalidTargetError
    return named.pop() if named else None
