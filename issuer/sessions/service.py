"""Create, refresh, revoke and list sessions. No HTTP, no SQL, no clock of its own.

A session is one row and one bit: the row counts its refreshes, the bit of a status list revokes its access tokens.
`refresh_policy` decides what happens to a refresh token. The store applies the decision only if the row has not
changed since it was read; otherwise the service reads the row and decides again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from issuer.audit.events import EndReason
from issuer.context import RequestContext
from issuer.errors import (
    InvalidCredentialsError,
    InvalidGrantError,
    InvalidTokenError,
    StoreUnavailableError,
    TooManyAttemptsError,
)
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
from issuer.sessions.refresh_policy import REJECTED_UNCHANGED, RefreshOutcome, evaluate_refresh
from issuer.sessions.store import SessionStore
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.models import StatusListEntry
from issuer.telemetry.metrics import Metrics
from issuer.throttling.throttle import CounterIncrement
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import FIRST_PARTY_CLIENT, AccessTokenClaims
from issuer.tokens.refresh_token import RefreshToken, RefreshTokens

_ATTEMPTS: Final = 5
_log = structlog.get_logger(__name__)


class Sessions:
    """Begins, refreshes and ends sessions.

    Args:
        store: where they are.
        access_tokens: mints.
        refresh_tokens: writes and reads.
        status_lists: hands out bits, and is told when one was set.
        metrics: where outcomes are counted.
        limits: of new sessions and, when idle, of all.
        now: the clock.
        new_id: a fresh random UUID.
    """

    def __init__(
        self,
        store: SessionStore,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        status_lists: StatusIndexAllocator,
        metrics: Metrics,
        limits: SessionLimits,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._status_lists = status_lists
        self._metrics = metrics
        self._limits = limits
        self._now = now
        self._new_id = new_id

    async def begin(
        self, account: StoredAccount, context: RequestContext, counters: Sequence[CounterIncrement] = ()
    ) -> TokenPair:
        """A new session for an account whose password was just verified.

        Raises:
            TooManyAttemptsError: other attempts have used up one of these limits since it was read.
            InvalidCredentialsError: it was disabled, or its credentials changed, since they were read.
            UnavailableError: not now.
        """
        session_id, now = self._new_id(), self._now()
        refresh_token = self._refresh_tokens.write(RefreshToken(session_id, 0))
        self._access_tokens.require_key()
        index = await self._insert(session_id, account, now, context, counters)
        self._metrics.sessions_begun.inc()
        _log.info("session begun", account=str(account.id), session=str(session_id))
        grant = AccessTokenClaims(
            str(account.id),
            session_id,
            now,
            FIRST_PARTY_CLIENT,
            account.scope,
            account.roles,
            status=self._status_lists.reference(index),
            ends_at=now + min(self._limits.idle, self._limits.absolute),
        )
        issued = await self._access_tokens.mint(grant)
        return TokenPair(issued.token, refresh_token, issued.expires_in, issued.scope)

    async def refresh(self, refresh_token: str, client_id: str, context: RequestContext) -> TokenPair:
        """New tokens for a refresh token, as `evaluate_refresh` says.

        Raises:
            InvalidGrantError: for every reason that is not ours.
            UnavailableError: not now.
        """
        presented = self._refresh_tokens.read(refresh_token)
        if presented is None:
            raise self._refusal(RefreshOutcome.INVALID)
        # Before the row is changed: without keys there would be no answer to the change.
        successor = self._refresh_tokens.write(presented.successor)
        self._access_tokens.require_key()
        state = await self._advance(presented, client_id, context)
        grant = AccessTokenClaims(
            str(state.user_id),
            state.id,
            state.created_at,
            state.client_id,
            state.scope,
            state.roles,
            status=self._status_lists.reference(state.index),
            ends_at=state.expires_at,
        )
        issued = await self._access_tokens.mint(grant)
        return TokenPair(issued.token, successor, issued.expires_in, issued.scope)

    async def end(self, session_id: UUID, user_id: UUID, reason: EndReason, context: RequestContext) -> bool:
        """End one session of an account; False if it has ended, or is not theirs.

        Raises:
            UnavailableError: not now.
        """
        ended = await self._store.end(session_id, user_id, self._now(), reason, context)
        if ended:
            self.tell_ended(reason, 1)
        return ended

    async def end_all(
        self, user_id: UUID, reason: EndReason, context: RequestContext, spared: UUID | None = None
    ) -> int:
        """End all sessions of an account but `spared`; how many.

        Raises:
            UnavailableError: not now.
        """
        ended = await self._store.end_all(user_id, self._now(), reason, context, spared)
        if ended:
            self.tell_ended(reason, ended)
        return ended

    async def list_of(self, user_id: UUID, after: Position | None, limit: int) -> list[Session]:
        """Return at most `limit` live sessions of an account that follow `after`, newest first.

        Raises:
            UnavailableError: not now.
        """
        return await self._store.list_live(user_id, self._now(), after, limit)

    async def state_of(self, session_id: UUID) -> SessionState | None:
        """A session as it is, live or not.

        Raises:
            UnavailableError: not now.
        """
        return await self._store.find_state(session_id)

    def would_refresh(self, state: SessionState, presented: RefreshToken) -> bool:
        """Return whether a refresh with this token of this session would be answered with tokens."""
        verdict = evaluate_refresh(state, presented, state.client_id, self._now(), self._limits.retry)
        return verdict in {RefreshOutcome.ROTATE, RefreshOutcome.PARALLEL, RefreshOutcome.RETRY}

    async def require_live(self, session_id: UUID, user_id: UUID) -> None:
        """Nothing, if this session of this account is live: an access token outlives its session by minutes.

        Raises:
            InvalidTokenError: it is not.
            UnavailableError: not now.
        """
        state = await self._store.find_state(session_id)
        if (
            state is None
            or state.user_id != user_id
            or state.ended_at is not None
            or state.disabled_at is not None
            or state.expires_at <= self._now()
        ):
            raise InvalidTokenError

    def read_refresh_token(self, text: str) -> RefreshToken | None:
        """What a refresh token says, or None unless it is ours; whether it is still good is not asked."""
        return self._refresh_tokens.read(text)

    def tell_ended(self, reason: EndReason, count: int) -> None:
        """Count sessions that ended, and let the status lists know that bits were set."""
        self._metrics.sessions_ended.labels(reason.value).inc(count)
        self._status_lists.revoked()

    async def _insert(
        self,
        session_id: UUID,
        account: StoredAccount,
        now: datetime,
        context: RequestContext,
        counters: Sequence[CounterIncrement],
    ) -> StatusListEntry:
        for _ in range(_ATTEMPTS):
            index = await self._status_lists.lease()
            idle, absolute = now + self._limits.idle, now + self._limits.absolute
            session = NewSession(session_id, FIRST_PARTY_CLIENT, account.scope, now, idle, absolute, index)
            match await self._store.insert_session(session, account, context, self._limits.per_account, counters):
                case InsertResult.YES:
                    return index
                case InsertResult.BEYOND_LIMIT:
                    await self._end_oldest(account.id, session_id, context)
                    return index
                case InsertResult.REFUSED:
                    raise InvalidCredentialsError
                case InsertResult.LIMITED:
                    self._metrics.logins.labels("throttled").inc()
                    raise TooManyAttemptsError(retry_after=1)
                case InsertResult.INDEX_TAKEN:
                    # The database went back in time and has leased our range to somebody else.
                    _log.error("a leased status index is taken: the range is given up")
                    self._status_lists.forget_leases()
        raise StoreUnavailableError("no free status index")

    async def _end_oldest(self, user_id: UUID, newest: UUID, context: RequestContext) -> None:
        """End sessions beyond the limit. If that is not possible now, the login stands and the next one does it."""
        spared = self._limits.per_account - 1
        try:
            ended = await self._store.end_all(
                user_id, self._now(), EndReason.SESSION_LIMIT, context, newest, newest=spared
            )
        except StoreUnavailableError:
            _log.warning("sessions beyond the limit not ended", account=str(user_id))
            return
        if ended:
            self.tell_ended(EndReason.SESSION_LIMIT, ended)

    async def _advance(self, presented: RefreshToken, client_id: str, context: RequestContext) -> SessionState:
        """Rotate, which nearly every refresh may. Otherwise decide on the row, until no other request changes it."""
        arrived = time.monotonic()
        for _ in range(_ATTEMPTS):
            now = self._now()
            rotated = await self._store.rotate(presented, client_id, now, now + self._limits.idle)
            if rotated is not None:
                self._metrics.refreshes.labels(RefreshOutcome.ROTATE.value).inc()
                return rotated
            state = await self._store.find_state(presented.session_id)
            if state is not None:
                # Judged as of its arrival: a request that waited for the database is no later than its neighbours.
                waited = timedelta(seconds=time.monotonic() - arrived)
                state = replace(state, rotated_ago=state.rotated_ago - waited)
            verdict = evaluate_refresh(state, presented, client_id, now, self._limits.retry)
            if state is None or verdict in REJECTED_UNCHANGED:
                raise self._refusal(verdict)
            if await self._settle(verdict, state, presented, now, context):
                self._metrics.refreshes.labels(verdict.value).inc()
                return state
        # Others came between every time, so the token is not the newest one any more.
        raise self._refusal(RefreshOutcome.EXHAUSTED)

    async def _settle(
        self,
        verdict: RefreshOutcome,
        state: SessionState,
        presented: RefreshToken,
        now: datetime,
        context: RequestContext,
    ) -> bool:
        """Whether the token is answered; False if the row has moved on and must be judged again."""
        match verdict:
            case RefreshOutcome.PARALLEL:
                return True
            case RefreshOutcome.RETRY:
                return await self._store.count_retry(presented, now)
            case RefreshOutcome.REUSED:
                if await self._store.end_reused(presented, now, context):
                    _log.warning("refresh token reused: session ended", session=str(state.id))
                    self.tell_ended(EndReason.REUSED, 1)
                    raise self._refusal(verdict)
            case RefreshOutcome.FUTURE:
                await self._store.record_future(state, presented, context)
                _log.error(
                    "refresh token from the future: the database went back in time",
                    session=str(state.id),
                    generations_ahead=presented.generation - state.generation,
                )
                raise self._refusal(verdict)
            case _:
                pass
        return False

    def _refusal(self, verdict: RefreshOutcome) -> InvalidGrantError:
        self._metrics.refreshes.labels(verdict.value).inc()
        return InvalidGrantError()
