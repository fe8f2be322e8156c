"""Creates, refreshes, revokes and lists sessions. No HTTP, no SQL, no clock of its own.

A session has one row, which counts its refreshes, and one status list index, which revokes its access tokens.
`refresh_policy` decides the outcome of a refresh. The store applies the decision only if the row has not changed
since it was read; otherwise the service reads the row and decides again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from issuer.audit.events import RevocationReason
from issuer.context import RequestContext
from issuer.errors import (
    DatabaseUnavailableError,
    InvalidClientError,
    InvalidCredentialsError,
    InvalidGrantError,
    InvalidTokenError,
    TooManyAttemptsError,
)
from issuer.sessions.authorization import LoginRequest, RefreshRequest, authorize_login, authorize_refresh
from issuer.sessions.models import (
    InsertResult,
    NewSession,
    Position,
    Session,
    SessionLimits,
    SessionState,
    StoredAccount,
    TokenPair,
)
from issuer.sessions.refresh_policy import SUCCESSES, RefreshOutcome, evaluate_refresh
from issuer.sessions.store import SessionStore
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.models import StatusListEntry
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import CounterIncrement
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.additional_claims import NO_CLAIMS
from issuer.tokens.models import AccessTokenClaims
from issuer.tokens.refresh_token import RefreshToken, RefreshTokens

_ATTEMPTS: Final = 5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SessionService:
    """The sessions of users: created, refreshed, revoked and listed."""

    store: SessionStore
    access_tokens: AccessTokens
    refresh_tokens: RefreshTokens
    status_lists: StatusIndexAllocator
    metrics: Metrics
    limits: SessionLimits
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]

    def __post_init__(self) -> None:
        for outcome in RefreshOutcome:
            self.metrics.refreshes.labels(outcome.value)  # create the series, so that rate() sees the first increment

    async def create(
        self,
        account: StoredAccount,
        request: LoginRequest,
        context: RequestContext,
        counters: Sequence[CounterIncrement] = (),
    ) -> TokenPair:
        """Create a session for an account whose password was just verified.

        `check_login` has checked the request. `counters` limit the login.

        Raises:
            InvalidScopeError: the account may not have the scope.
            InvalidClientError: the client was disabled or changed since it was read.
            TooManyAttemptsError: other attempts have exhausted one of `counters` since it was read.
            InvalidCredentialsError: the account was disabled, or its credentials changed, since it was read.
            UnavailableError: the database is unavailable.
        """
        scope = authorize_login(request, account.scope)
        session_id, now = self.new_id(), self.now()
        refresh_token = self.refresh_tokens.write(RefreshToken(session_id, 0))
        self.access_tokens.require_key()
        session = NewSession(
            session_id,
            request.client.id,
            request.client.security_version,
            scope,
            request.scope is not None,
            request.audiences,
            now,
            now + min(self.limits.idle, self.limits.absolute),
            now + self.limits.absolute,
        )
        index = await self._insert(session, account, context, counters)
        self.metrics.sessions_created.inc()
        _log.info("session_created", account=str(account.id), session=str(session_id))
        claims = AccessTokenClaims(
            str(account.id),
            session_id,
            now,
            request.client.id,
            scope,
            request.audience,
            account.roles,
            status=self.status_lists.reference(index),
            session_expires_at=session.idle_expires_at,
            additional={**request.client.claims, **account.claims},
        )
        return self._issue(claims, refresh_token, session.idle_expires_at)

    async def refresh(self, refresh_token: str, request: RefreshRequest, context: RequestContext) -> TokenPair:
        """Exchange a refresh token for new tokens, as `evaluate_refresh` and `authorize_refresh` decide.

        The new refresh token does not depend on the requested scope and audience; the access token does.

        Raises:
            InvalidScopeError: the session may not have the scope. The refresh token stays valid.
            InvalidTargetError: the session may not have the audience. The refresh token stays valid.
            InvalidGrantError: the token is invalid, expired, revoked or reused.
            UnavailableError: the database is unavailable.
        """
        presented = self.refresh_tokens.read(refresh_token)
        if presented is None:
            raise self._rejection(RefreshOutcome.INVALID)
        # First, since without keys the client would get no new refresh token after the row was changed.
        successor = self.refresh_tokens.write(presented.successor)
        self.access_tokens.require_key()
        state = await self._rotate(presented, request, context)
        audience, scope = authorize_refresh(state, request)
        claims = AccessTokenClaims(
            str(state.user_id),
            state.id,
            state.created_at,
            state.client_id,
            scope,
            audience,
            state.roles,
            status=self.status_lists.reference(state.index),
            session_expires_at=state.expires_at,
            additional={**(state.client.claims if state.client else NO_CLAIMS), **state.claims},
        )
        return self._issue(claims, successor, state.expires_at)

    async def revoke(
        self, session_id: UUID, user_id: UUID | None, reason: RevocationReason, context: RequestContext
    ) -> bool:
        """Revoke one session, of the account `user_id` if it is given; return False if there is none to revoke.

        Raises:
            UnavailableError: the database is unavailable.
        """
        revoked = await self.store.revoke(session_id, user_id, self.now(), reason, context)
        if revoked:
            self.on_revoked(reason, 1)
        return revoked

    async def revoke_all(
        self,
        user_id: UUID,
        reason: RevocationReason,
        context: RequestContext,
        except_session: UUID | None = None,
        newest: int = 0,
    ) -> int:
        """Revoke the sessions of an account except `except_session` and the `newest` newest ones; return how many.

        Raises:
            UnavailableError: the database is unavailable.
        """
        revoked = await self.store.revoke_all(user_id, self.now(), reason, context, except_session, newest)
        if revoked:
            self.on_revoked(reason, revoked)
        return revoked

    async def list_for_user(self, user_id: UUID, after: Position | None, limit: int) -> list[Session]:
        """Return at most `limit` live sessions of an account that follow `after`, newest first.

        Raises:
            UnavailableError: the database is unavailable.
        """
        return await self.store.list_live(user_id, self.now(), after, limit)

    async def get(self, session_id: UUID) -> SessionState | None:
        """Return a session, live or not; None if there is none with this id.

        Raises:
            UnavailableError: the database is unavailable.
        """
        return await self.store.find_state(session_id)

    def would_refresh(self, state: SessionState, presented: RefreshToken) -> bool:
        """Return whether a refresh with this token of this session would succeed now."""
        return evaluate_refresh(state, presented, None, self.now(), self.limits.retry) in SUCCESSES

    async def require_live(self, session_id: UUID, user_id: UUID) -> None:
        """Check that a session is live. An access token may be valid for minutes after its session was revoked.

        Raises:
            InvalidTokenError: the session is expired or revoked, or belongs to another account.
            UnavailableError: the database is unavailable.
        """
        state = await self.store.find_state(session_id)
        if (
            state is None
            or state.user_id != user_id
            or state.revoked_at is not None
            or state.disabled_at is not None
            or state.expires_at <= self.now()
        ):
            raise InvalidTokenError

    def read_refresh_token(self, text: str) -> RefreshToken | None:
        """Decode a refresh token without checking its session; return None if its MAC is invalid."""
        return self.refresh_tokens.read(text)

    def on_revoked(self, reason: RevocationReason, count: int) -> None:
        """Count revoked sessions, and publish the status lists without delay."""
        self.metrics.sessions_revoked.labels(reason.value).inc(count)
        self.status_lists.revoked()

    def _issue(self, claims: AccessTokenClaims, refresh_token: str, expires_at: datetime) -> TokenPair:
        issued = self.access_tokens.mint(claims)
        session_expires_in = max(1, int((expires_at - self.now()).total_seconds()))
        return TokenPair(issued.token, refresh_token, issued.expires_in, session_expires_in, issued.scope)

    async def _insert(
        self,
        session: NewSession,
        account: StoredAccount,
        context: RequestContext,
        counters: Sequence[CounterIncrement],
    ) -> StatusListEntry:
        for _ in range(_ATTEMPTS):
            index = await self.status_lists.lease()
            limit = self.limits.per_account
            match await self.store.insert_session(session, index, account, context, limit, counters):
                case InsertResult.INSERTED:
                    return index
                case InsertResult.BEYOND_LIMIT:
                    await self._revoke_oldest(account.id, session.id, context)
                    return index
                case InsertResult.ACCOUNT_CHANGED:
                    raise InvalidCredentialsError
                case InsertResult.CLIENT_CHANGED:
                    raise InvalidClientError
                case InsertResult.RATE_LIMITED:
                    raise TooManyAttemptsError(retry_after=1)
                case InsertResult.INDEX_TAKEN:
                    # An older state of the database was restored, and our range was leased to another issuer.
                    _log.error("status_index_conflict")
                    self.status_lists.discard_leases()
        raise DatabaseUnavailableError("no free status index")

    async def _revoke_oldest(self, user_id: UUID, created: UUID, context: RequestContext) -> None:
        """Revoke sessions beyond the limit. If the database fails, the login succeeds and the next one retries."""
        newest = self.limits.per_account - 1
        try:
            await self.revoke_all(user_id, RevocationReason.SESSION_LIMIT, context, created, newest)
        except DatabaseUnavailableError:
            _log.warning("session_limit_not_enforced", account=str(user_id))

    async def _rotate(
        self, presented: RefreshToken, request: RefreshRequest, context: RequestContext
    ) -> SessionState:
        """Rotate, which nearly always succeeds. Else read the row and decide; repeat if the row changed meanwhile."""
        arrived = time.monotonic()
        for _ in range(_ATTEMPTS):
            now = self.now()
            rotated = await self.store.rotate(presented, request, now, now + self.limits.idle)
            if rotated is not None:
                self.metrics.refreshes.labels(RefreshOutcome.ROTATE.value).inc()
                return rotated
            state = await self.store.find_state(presented.session_id)
            if state is not None:
                # Decide as at the arrival: a wait for the database must not turn a parallel request into a retry.
                waited = timedelta(seconds=time.monotonic() - arrived)
                state = replace(state, rotated_ago=state.rotated_ago - waited)
            outcome = evaluate_refresh(state, presented, request.client_id, now, self.limits.retry)
            if state is None:
                raise self._rejection(outcome)
            if outcome in SUCCESSES:
                authorize_refresh(state, request)
            if await self._apply_outcome(outcome, state, presented, now, context):
                self.metrics.refreshes.labels(outcome.value).inc()
                return state
        # Other requests changed the row each time, so the token is no longer the newest one.
        raise self._rejection(RefreshOutcome.RETRY_LIMIT_EXCEEDED)

    async def _apply_outcome(
        self,
        outcome: RefreshOutcome,
        state: SessionState,
        presented: RefreshToken,
        now: datetime,
        context: RequestContext,
    ) -> bool:
        """Apply a decision. Return True if new tokens follow, False if the row has changed since it was read.

        Raises:
            InvalidGrantError: the decision rejects the token.
        """
        match outcome:
            case RefreshOutcome.ROTATE:
                return False  # the row has changed since `rotate` did nothing
            case RefreshOutcome.PARALLEL:
                return True
            case RefreshOutcome.RETRY:
                return await self.store.count_retry(presented, now)
            case RefreshOutcome.REUSED:
                if not await self.store.revoke_reused(presented, now, context):
                    return False
                _log.warning("refresh_token_reused", session=str(state.id))
                self.on_revoked(RevocationReason.REFRESH_TOKEN_REUSE, 1)
            case RefreshOutcome.GENERATION_AHEAD:
                await self.store.record_generation_ahead(state, presented, context)
                _log.error(
                    "refresh_token_generation_ahead",
                    session=str(state.id),
                    generations_ahead=presented.generation - state.generation,
                    hint="was an older backup of the database restored?",
                )
            case _:
                pass  # the session stays as it is
        raise self._rejection(outcome)

    def _rejection(self, outcome: RefreshOutcome) -> InvalidGrantError:
        self.metrics.refreshes.labels(outcome.value).inc()
        return InvalidGrantError()
