"""Token introspection (RFC 7662): an authenticated client asks whether a token is active.

A client gets information only on tokens that were issued to it or are meant for it (§4). Hints are ignored.
"""

from typing import Any
from uuid import UUID

from issuer.errors import InvalidClientError, InvalidTargetError, InvalidTokenError
from issuer.oauth.client_authentication import authenticate_client
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.models import OAuthRequest
from issuer.sessions.authorization import RefreshRequest, authorize_refresh
from issuer.sessions.service import SessionService
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import VerifiedAccessToken
from issuer.tokens.refresh_token import RefreshToken


class TokenIntrospection:
    """The introspection of tokens by the issuer with the URL `issuer`."""

    def __init__(
        self, issuer: str, access_tokens: AccessTokens, sessions: SessionService, clients: ClientAuthenticator
    ) -> None:
        self._issuer = issuer
        self._access_tokens = access_tokens
        self._sessions = sessions
        self._clients = clients

    async def introspect(self, request: OAuthRequest) -> dict[str, Any]:
        """Return the members of the response (§2.2): only `active` if the token is inactive, or not for this client.

        They include no email address: clients need only `sub`.

        Raises:
            OAuthError: the client is not authenticated, or the request has no token.
            UnavailableError: the database is unavailable.
        """
        client = await authenticate_client(self._clients, request)
        if client is None:
            raise InvalidClientError
        token = request.required("token")
        refresh_token = self._sessions.read_refresh_token(token)
        if refresh_token is not None:
            found = await self._introspect_refresh_token(refresh_token)
        else:
            found = await self._introspect_access_token(token)
        if found is None or not (found["client_id"] == client.id or found["aud"] in client.audiences):
            return {"active": False}
        members = {**found, "active": True, "iss": self._issuer}
        return {name: value for name, value in members.items() if value is not None}

    async def _introspect_refresh_token(self, refresh_token: RefreshToken) -> dict[str, Any] | None:
        state = await self._sessions.get(refresh_token.session_id)
        # A refresh token is active if a refresh with it would succeed.
        if state is None or not self._sessions.would_refresh(state, refresh_token):
            return None
        try:
            audience, scope = authorize_refresh(state, RefreshRequest())
        except InvalidTargetError:
            return None
        return {
            "sub": str(state.user_id),
            "client_id": state.client_id,
            "scope": scope or None,
            "aud": audience,
            "exp": int(state.expires_at.timestamp()),
            "sid": str(state.id),
        }

    async def _introspect_access_token(self, token: str) -> dict[str, Any] | None:
        try:
            verified = self._access_tokens.read_any_audience(token)
        except InvalidTokenError:
            return None
        if not await self._is_current(verified):
            return None
        return {
            **verified.additional,
            "sub": verified.subject,
            "client_id": verified.client_id,
            "scope": verified.scope or None,
            "aud": verified.audience,
            "exp": verified.expires_at,
            "iat": verified.issued_at,
            "jti": verified.jti,
            "token_type": "Bearer",
            "sid": None if verified.session_id is None else str(verified.session_id),
        }

    async def _is_current(self, token: VerifiedAccessToken) -> bool:
        """Return whether the session of a token is live, or the client of a token still has its status list index."""
        if token.session_id is not None:
            try:
                await self._sessions.require_live(token.session_id, UUID(token.subject))
            except InvalidTokenError:
                return False
            return True
        client = await self._clients.find(token.client_id)
        return client is not None and token.status is not None and self._clients.is_current(client, token.status)
