"""Token revocation (RFC 7009): revokes the session, or the tokens of the client, that a token belongs to.

A refresh token revokes its session, and so does an access token of a session: neither is useful without the other.
An access token of a machine revokes the machine's other live tokens too, since they share one status list index.
"""

from dataclasses import replace
from uuid import UUID

from issuer.audit.events import RevocationReason
from issuer.context import RequestContext
from issuer.errors import InvalidClientError, InvalidTokenError, UnauthorizedClientError
from issuer.oauth.client_authentication import authenticate_client
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.models import Client, OAuthRequest
from issuer.sessions.service import SessionService
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import FIRST_PARTY_CLIENT


class TokenRevocation:
    """The revocation of tokens."""

    def __init__(self, access_tokens: AccessTokens, sessions: SessionService, clients: ClientAuthenticator) -> None:
        self._access_tokens = access_tokens
        self._sessions = sessions
        self._clients = clients

    async def revoke(self, request: OAuthRequest) -> None:
        """Revoke the token of the request. A token that is invalid or not ours is no error (§2.2).

        A public client sends its `client_id`; the token is its only credential.

        Raises:
            OAuthError: the client is not authenticated, or the token was issued to another client (§2.1).
            UnavailableError: the database is unavailable; the token may still be valid (§2.2.1).
        """
        client = await authenticate_client(self._clients, request)
        client_id = await self._public_client(request) if client is None else client.id
        context = request.context if client is None else replace(request.context, actor="client")
        token = request.required("token")
        refresh_token = self._sessions.read_refresh_token(token)
        if refresh_token is not None:
            await self._revoke_session(refresh_token.session_id, client_id, context)
        else:
            await self._revoke_access_token(token, client, client_id, context)

    async def _public_client(self, request: OAuthRequest) -> str:
        client_id = request.get("client_id")
        if client_id is None:
            raise InvalidClientError
        if client_id != FIRST_PARTY_CLIENT:
            client = await self._clients.find(client_id)
            # A disabled client may still revoke tokens: its sessions are being revoked anyway.
            if client is None or not client.is_public:
                raise InvalidClientError
        return client_id

    async def _revoke_access_token(
        self, text: str, client: Client | None, client_id: str, context: RequestContext
    ) -> None:
        try:
            token = self._access_tokens.read_any_audience(text)
        except InvalidTokenError:
            return
        if token.session_id is not None:
            await self._revoke_session(token.session_id, client_id, context)
            return
        if client is None or client.id != token.client_id:
            raise UnauthorizedClientError
        if token.status is not None:
            await self._clients.revoke_tokens(client, token.status, context)

    async def _revoke_session(self, session_id: UUID, client_id: str, context: RequestContext) -> None:
        state = await self._sessions.get(session_id)
        if state is None:
            return
        if state.client_id != client_id:
            raise UnauthorizedClientError
        await self._sessions.revoke(state.id, state.user_id, RevocationReason.REVOKED, context)
