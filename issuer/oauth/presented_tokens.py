"""What becomes of a token that somebody shows us: told about (RFC 7662), or revoked (RFC 7009).

Both look at what the token is and never at what the asker says it is: a hint is only a hint. What may be told to
whom is decided here; that the client has authenticated is presupposed. No HTTP, no SQL.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from issuer.audit.events import EndReason
from issuer.context import RequestContext
from issuer.errors import InvalidTokenError, UnauthorizedClientError
from issuer.oauth.clients import Clients
from issuer.oauth.models import Client
from issuer.sessions.service import Sessions
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import FIRST_PARTY_CLIENT, VerifiedAccessToken
from issuer.tokens.refresh_token import RefreshToken


@dataclass(frozen=True, slots=True)
class Introspection:
    """What is told of a token that is active. No name and no address: a `sub` is all that a machine needs.

    Attributes:
        jti: of an access token; None for a refresh token, as `issued_at` and `token_type` are.
        session_id: None for a machine's token.
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


class PresentedTokens:
    """Tells about tokens and revokes them.

    Args:
        access_tokens: reads them.
        sessions: behind the tokens of people.
        clients: behind the tokens of machines.
        audience: of the tokens of people.
        now: the clock.
    """

    def __init__(
        self,
        access_tokens: AccessTokens,
        sessions: Sessions,
        clients: Clients,
        audience: str,
        now: Callable[[], datetime],
    ) -> None:
        self._access_tokens = access_tokens
        self._sessions = sessions
        self._clients = clients
        self._audience = audience
        self._now = now

    async def introspect(self, token: str, client: Client) -> Introspection | None:
        """What `client` may know about a token; None if it is not active, or none of this client's business.

        A client may ask about what was issued to it and about what is for it: RFC 7662 §4.

        Raises:
            UnavailableError: not now.
        """
        refresh_token = self._sessions.read_refresh_token(token)
        if refresh_token is not None:
            found = await self._about_refresh_token(refresh_token)
        else:
            found = await self._about_access_token(token)
        if found is None or not (found.client_id == client.id or found.audience in client.audiences):
            return None
        return found

    async def revoke(self, token: str, client: Client | None, context: RequestContext) -> None:
        """Revoke a token, whichever kind it is; nothing if it is none of ours or not live any more (RFC 7009 §2.2).

        A refresh token ends its session, and so does an access token of one: neither is of use without the other.
        An access token of a machine takes the machine's other live tokens with it, which share its bit.

        Args:
            token: as shown.
            client: who shows it; None for our own applications, for whom the token itself is the proof.
            context: of the request.

        Raises:
            UnauthorizedClientError: it was issued to another client (RFC 7009 §2.1).
            UnavailableError: not now: the token must be taken to be alive still (RFC 7009 §2.2.1).
        """
        refresh_token = self._sessions.read_refresh_token(token)
        if refresh_token is not None:
            await self._end_session(refresh_token.session_id, client, context)
            return
        bearer = await self._read(token)
        if bearer is None:
            return
        if bearer.session_id is not None:
            await self._end_session(bearer.session_id, client, context)
            return
        if client is None or client.id != bearer.client_id:
            raise UnauthorizedClientError
        if bearer.status is not None:
            await self._clients.revoke_tokens(client, bearer.status, context)

    async def _about_refresh_token(self, refresh_token: RefreshToken) -> Introspection | None:
        state = await self._sessions.state_of(refresh_token.session_id)
        if state is None:
            return None
        # Active is what a refresh would be answered with, without the refresh.
        if not self._sessions.would_refresh(state, refresh_token):
            return None
        return Introspection(
            str(state.user_id),
            state.client_id,
            state.scope,
            self._audience,
            int(state.expires_at.timestamp()),
            state.id,
        )

    async def _about_access_token(self, token: str) -> Introspection | None:
        bearer = await self._read(token)
        if bearer is None or not await self._is_backed(bearer):
            return None
        return Introspection(
            bearer.subject,
            bearer.client_id,
            bearer.scope,
            bearer.audience,
            bearer.expires_at,
            bearer.session_id,
            bearer.jti,
            bearer.issued_at,
            "Bearer",
        )

    async def _is_backed(self, bearer: VerifiedAccessToken) -> bool:
        """Whether the session or the client behind a token is still what it was when the token was minted."""
        if bearer.session_id is not None:
            try:
                await self._sessions.require_live(bearer.session_id, UUID(bearer.subject))
            except InvalidTokenError:
                return False
            return True
        client = await self._clients.find(bearer.client_id)
        return client is not None and bearer.status is not None and self._clients.is_current(client, bearer.status)

    async def _end_session(self, session_id: UUID, client: Client | None, context: RequestContext) -> None:
        state = await self._sessions.state_of(session_id)
        if state is None:
            return
        if state.client_id != (client.id if client is not None else FIRST_PARTY_CLIENT):
            raise UnauthorizedClientError
        await self._sessions.end(state.id, state.user_id, EndReason.REVOKED, context)

    async def _read(self, token: str) -> VerifiedAccessToken | None:
        try:
            return await self._access_tokens.read_for_anybody(token)
        except InvalidTokenError:
            return None
