"""Token introspection (RFC 7662): an authenticated client asks whether a token is active.

A client gets information only on tokens that were issued to it or are meant for it (§4). Hints are ignored.
"""

from dataclasses import dataclass, field
from uuid import UUID

from issuer.errors import InvalidClientError, InvalidTargetError, InvalidTokenError
from issuer.oauth.client_authentication import authenticate_client
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.models import OAuthRequest
from issuer.sessions.authorization import RefreshRequest, authorize_refresh
from issuer.sessions.service import SessionService
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.additional_claims import ClaimValues
from issuer.tokens.models import VerifiedAccessToken
from issuer.tokens.refresh_token import RefreshToken


@dataclass(frozen=True, slots=True)
class Introspection:
    """An active token. It includes no email address: clients need only `sub`.

    Attributes:
        session_id: None for the token of a machine.
        jti: None for a refresh token, as `issued_at` and `token_type` are.
        additional: the additional claims of an access token.
    """

    subject: str
    client_id: str
    scope: str
    audience: str
    expires_at: int
    session_id: UUID | None
    jti: str | None = None
    issued_at: int | None = None
    token_type: str | None = None
    additional: ClaimValues = field(default_factory=dict)


class TokenIntrospection:
    """The introspection of tokens.

    Args:
        access_tokens: verifies access tokens.
        sessions: the sessions of users.
        clients: the clients that machines authenticate as.
    """

    def __init__(self, access_tokens: AccessTokens, sessions: SessionService, clients: ClientAuthenticator) -> None:
        self._access_tokens = access_tokens
        self._sessions = sessions
        self._clients = clients

    async def introspect(self, request: OAuthRequest) -> Introspection | None:
        """Return the data of the token of the request; None if the token is inactive, or not for this client.

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
        if found is None or not (found.client_id == client.id or found.audience in client.audiences):
            return None
        return found

    async def _introspect_refresh_token(self, refresh_token: RefreshToken) -> Introspection | None:
        state = await self._sessions.get(refresh_token.session_id)
        # A refresh token is active if a refresh with it would succeed.
        if state is None or not self._sessions.would_refresh(state, refresh_token):
            return None
        try:
            audience, scope = authorize_refresh(state, RefreshRequest())
        except InvalidTargetError:
            return None
        return Introspection(
            str(state.user_id),
            state.client_id,
            scope,
            audience,
            int(state.expires_at.timestamp()),
            state.id,
        )

    async def _introspect_access_token(self, token: str) -> Introspection | None:
        try:
            verified = self._access_tokens.read_any_audience(token)
        except InvalidTokenError:
            return None
        if not await self._is_current(verified):
            return None
        return Introspection(
            verified.subject,
            verified.client_id,
            verified.scope,
            verified.audience,
            verified.expires_at,
            verified.session_id,
            verified.jti,
            verified.issued_at,
            "Bearer",
            verified.additional,
        )

    async def _is_current(self, token: VerifiedAccessToken) -> bool:
        """Return whether the session, or the client, of a token has not been revoked since it was minted."""
        if token.session_id is not None:
            try:
                await self._sessions.require_live(token.session_id, UUID(token.subject))
            except InvalidTokenError:
                return False
            return True
        client = await self._clients.find(token.client_id)
        return client is not None and token.status is not None and self._clients.is_current(client, token.status)
