"""The use cases of sessions: begin, refresh, end, list. No HTTP, no SQL, no clock of its own.

A session is one row and one bit: the row counts its refreshes, the bit of a status list ends its access tokens.
What becomes of a refresh token is decided by `judge`, a pure function over the row; the store then does it only
if the row is still as it was judged, and whoever was overtaken judges again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Protocol
from uuid import UUID

import structlog

from issuer.audit.events import EndReason, Origin
from issuer.errors import (
    InvalidCredentialsError,
    InvalidGrantError,
    InvalidTokenError,
    StoreUnavailableError,
    TooManyAttemptsError,
)
from issuer.sessions.models import StoredAccount
from issuer.status_lists.allocator import StatusIndex, StatusLists
from issuer.telemetry.metrics import Metrics
from issuer.throttling.throttle import CounterIncrement
from issuer.tokens.access_token import FIRST_PARTY_CLIENT, AccessTokens, Grant
from issuer.tokens.refresh_token import RefreshToken, RefreshTokens

PARALLEL: Final = timedelta(seconds=2)
"""Requests with one refresh token that arrive within this time of the first are one: tabs that wake together."""

MAX_RETRIES: Final = 50
"""Retries with one refresh token: many tabs on a slow machine, and far fewer than a client in a loop sends."""

MAX_RETRIED_IN_A_ROW: Final = 5
"""Refreshes in a row whose token was presented again later. Beyond it a second party refreshes in step."""

_ATTEMPTS: Final = 5
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of sessions and refresh tokens.

    Attributes:
        idle: of a session since it was last refreshed.
        absolute: of a session, however it is used.
        retry: after a refresh, during which the token that was used gets the same successor again.
        per_account: how many sessions an account has at most; a login beyond revokes the oldest.
    """

    idle: timedelta
    absolute: timedelta
    retry: timedelta
    per_account: int


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a login adds."""

    id: UUID
    client_id: str
    scope: str
    created_at: datetime
    idle_expires_at: datetime
    expires_at: datetime
    index: StatusIndex


@dataclass(frozen=True, slots=True)
class Session:
    """What its owner may see of it."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a session in the list of its account's: newest first, then by id."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session's row, and what its account has to say.

    Attributes:
        retries: how often the previous refresh token was presented again, parallel requests aside.
        retried_in_a_row: of the refreshes before, the last ones whose tokens were all presented again.
        rotated_ago: time since the last refresh, by the clock of the database: issuers have different clocks.
        expires_at: the earlier of idle and absolute.
    """

    id: UUID
    user_id: UUID
    client_id: str
    generation: int
    retries: int
    retried_in_a_row: int
    created_at: datetime
    rotated_ago: timedelta
    expires_at: datetime
    ended_at: datetime | None
    disabled_at: datetime | None
    scope: str
    roles: tuple[str, ...]
    index: StatusIndex


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """What a login or a refresh gives out. Its repr leaves the tokens out."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    scope: str


class Verdict(Enum):
    """What a refresh token is worth. The value is the label of its metric."""

    ROTATE = "rotated"
    PARALLEL = "parallel"
    RETRY = "retried"
    REUSED = "reused"
    FUTURE = "future"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    ENDED = "ended"
    DISABLED = "disabled"
    INVALID = "invalid"


_REJECTED: Final = {Verdict.EXHAUSTED, Verdict.EXPIRED, Verdict.ENDED, Verdict.DISABLED, Verdict.INVALID}
"""Verdicts that change nothing."""


class Inserted(Enum):
    """What became of a new session."""

    YES = "yes"
    BEYOND_LIMIT = "beyond_limit"
    REFUSED = "refused"
    INDEX_TAKEN = "index_taken"
    LIMITED = "limited"


class SessionStore(Protocol):
    """What the use cases ask of `store/`. Each method is one transaction, committed when it returns."""

    async def insert_session(
        self,
        session: NewSession,
        account: StoredAccount,
        origin: Origin,
        limit: int,
        counters: Sequence[CounterIncrement],
    ) -> Inserted:
        """Add it and its event and clear the first of `counters`.

        Unless one of them makes a login wait, or the account was disabled or changed since `account` was read.
        """

    async def rotate(
        self, presented: RefreshToken, client_id: str, now: datetime, idle_expires_at: datetime
    ) -> SessionState | None:
        """Compare and swap to the next generation; None, and nothing done, if `judge` would not say ROTATE."""

    async def find_state(self, session_id: UUID) -> SessionState | None:
        """The row as it is."""

    async def count_retry(self, presented: RefreshToken, now: datetime) -> bool:
        """Count one more retry with the previous token; False if the row has changed meanwhile."""

    async def end_reused(self, presented: RefreshToken, now: datetime, origin: Origin) -> bool:
        """End the session as stolen with its access tokens, unless it ended meanwhile."""

    async def record_future(self, state: SessionState, presented: RefreshToken, origin: Origin) -> None:
        """Write down that a token knows more than the database."""

    async def end(self, session_id: UUID, user_id: UUID, now: datetime, reason: EndReason, origin: Origin) -> bool:
        """End one session with its access tokens; False if it has ended or is not theirs."""

    async def end_all(
        self, user_id: UUID, now: datetime, reason: EndReason, origin: Origin, spared: UUID | None, newest: int = 0
    ) -> int:
        """End an account's sessions but `spared` and as many of the newest, with their access tokens; how many."""

    async def list_live(self, user_id: UUID, now: datetime, after: Position | None, limit: int) -> list[Session]:
        """The live sessions of an account that follow `after`, newest first."""


def judge(  # noqa: PLR0911 - one return for each line of the rule
    state: SessionState | None, presented: RefreshToken, client_id: str, now: datetime, retry: timedelta
) -> Verdict:
    """Return the verdict on `presented`, whose MAC is ours. The order of the cases is the rule.

    The previous token gets its successor again: at once for requests in parallel, and for `retry` because the
    answer may have been lost. It is reused if its successor was used, or later than that: then two parties hold it,
    and we cannot tell which is the owner (RFC 9700 §4.14.2). It is also reused if the tokens of several refreshes
    in a row came twice: answers are not lost so regularly, so a second party refreshes in step with the first. Too
    many retries of one token are rejected and change nothing: a client in a loop is faulty, not robbed.
    """
    if state is None or state.client_id != client_id:
        return Verdict.INVALID
    if state.ended_at is not None:
        return Verdict.ENDED
    if state.expires_at <= now:
        return Verdict.EXPIRED
    if state.disabled_at is not None:
        return Verdict.DISABLED
    match state.generation - presented.generation:
        case 0:
            return Verdict.ROTATE
        case behind if behind < 0:
            return Verdict.FUTURE
        case 1 if state.rotated_ago <= PARALLEL:
            return Verdict.PARALLEL
        case 1 if state.rotated_ago <= retry and state.retried_in_a_row < MAX_RETRIED_IN_A_ROW:
            return Verdict.RETRY if state.retries < MAX_RETRIES else Verdict.EXHAUSTED
        case _:
            return Verdict.REUSED


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
        status_lists: StatusLists,
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
        self, account: StoredAccount, origin: Origin, counters: Sequence[CounterIncrement] = ()
    ) -> IssuedTokens:
        """A new session for an account whose password was just verified.

        Raises:
            TooManyAttemptsError: other attempts have used up one of these limits since it was read.
            InvalidCredentialsError: it was disabled, or its credentials changed, since they were read.
            UnavailableError: not now.
        """
        session_id, now = self._new_id(), self._now()
        refresh_token = self._refresh_tokens.write(RefreshToken(session_id, 0))
        self._access_tokens.require_key()
        index = await self._insert(session_id, account, now, origin, counters)
        self._metrics.sessions_begun.inc()
        _log.info("session begun", account=str(account.id), session=str(session_id))
        grant = Grant(
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
        return IssuedTokens(issued.token, refresh_token, issued.expires_in, issued.scope)

    async def refresh(self, refresh_token: str, client_id: str, origin: Origin) -> IssuedTokens:
        """New tokens for a refresh token, as `judge` says.

        Raises:
            InvalidGrantError: for every reason that is not ours.
            UnavailableError: not now.
        """
        presented = self._refresh_tokens.read(refresh_token)
        if presented is None:
            raise self._refusal(Verdict.INVALID)
        # Before the row is changed: without keys there would be no answer to the change.
        successor = self._refresh_tokens.write(presented.successor)
        self._access_tokens.require_key()
        state = await self._advance(presented, client_id, origin)
        grant = Grant(
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
        return IssuedTokens(issued.token, successor, issued.expires_in, issued.scope)

    async def end(self, session_id: UUID, user_id: UUID, reason: EndReason, origin: Origin) -> bool:
        """End one session of an account; False if it has ended, or is not theirs.

        Raises:
            UnavailableError: not now.
        """
        ended = await self._store.end(session_id, user_id, self._now(), reason, origin)
        if ended:
            self.tell_ended(reason, 1)
        return ended

    async def end_all(self, user_id: UUID, reason: EndReason, origin: Origin, spared: UUID | None = None) -> int:
        """End all sessions of an account but `spared`; how many.

        Raises:
            UnavailableError: not now.
        """
        ended = await self._store.end_all(user_id, self._now(), reason, origin, spared)
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
        verdict = judge(state, presented, state.client_id, self._now(), self._limits.retry)
        return verdict in {Verdict.ROTATE, Verdict.PARALLEL, Verdict.RETRY}

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
        origin: Origin,
        counters: Sequence[CounterIncrement],
    ) -> StatusIndex:
        for _ in range(_ATTEMPTS):
            index = await self._status_lists.lease()
            idle, absolute = now + self._limits.idle, now + self._limits.absolute
            session = NewSession(session_id, FIRST_PARTY_CLIENT, account.scope, now, idle, absolute, index)
            match await self._store.insert_session(session, account, origin, self._limits.per_account, counters):
                case Inserted.YES:
                    return index
                case Inserted.BEYOND_LIMIT:
                    await self._end_oldest(account.id, session_id, origin)
                    return index
                case Inserted.REFUSED:
                    raise InvalidCredentialsError
                case Inserted.LIMITED:
                    self._metrics.logins.labels("throttled").inc()
                    raise TooManyAttemptsError(retry_after=1)
                case Inserted.INDEX_TAKEN:
                    # The database went back in time and has leased our range to somebody else.
                    _log.error("a leased status index is taken: the range is given up")
                    self._status_lists.forget_leases()
        raise StoreUnavailableError("no free status index")

    async def _end_oldest(self, user_id: UUID, newest: UUID, origin: Origin) -> None:
        """End sessions beyond the limit. If that is not possible now, the login stands and the next one does it."""
        spared = self._limits.per_account - 1
        try:
            ended = await self._store.end_all(
                user_id, self._now(), EndReason.SESSION_LIMIT, origin, newest, newest=spared
            )
        except StoreUnavailableError:
            _log.warning("sessions beyond the limit not ended", account=str(user_id))
            return
        if ended:
            self.tell_ended(EndReason.SESSION_LIMIT, ended)

    async def _advance(self, presented: RefreshToken, client_id: str, origin: Origin) -> SessionState:
        """Rotate at once, as nearly every refresh may; else look, judge and do, until nobody comes between."""
        arrived = time.monotonic()
        for _ in range(_ATTEMPTS):
            now = self._now()
            rotated = await self._store.rotate(presented, client_id, now, now + self._limits.idle)
            if rotated is not None:
                self._metrics.refreshes.labels(Verdict.ROTATE.value).inc()
                return rotated
            state = await self._store.find_state(presented.session_id)
            if state is not None:
                # Judged as of its arrival: a request that waited for the database is no later than its neighbours.
                waited = timedelta(seconds=time.monotonic() - arrived)
                state = replace(state, rotated_ago=state.rotated_ago - waited)
            verdict = judge(state, presented, client_id, now, self._limits.retry)
            if state is None or verdict in _REJECTED:
                raise self._refusal(verdict)
            if await self._settle(verdict, state, presented, now, origin):
                self._metrics.refreshes.labels(verdict.value).inc()
                return state
        # Others came between every time, so the token is not the newest one any more.
        raise self._refusal(Verdict.EXHAUSTED)

    async def _settle(
        self, verdict: Verdict, state: SessionState, presented: RefreshToken, now: datetime, origin: Origin
    ) -> bool:
        """Whether the token is answered; False if the row has moved on and must be judged again."""
        match verdict:
            case Verdict.PARALLEL:
                return True
            case Verdict.RETRY:
                return await self._store.count_retry(presented, now)
            case Verdict.REUSED:
                if await self._store.end_reused(presented, now, origin):
                    _log.warning("refresh token reused: session ended", session=str(state.id))
                    self.tell_ended(EndReason.REUSED, 1)
                    raise self._refusal(verdict)
            case Verdict.FUTURE:
                await self._store.record_future(state, presented, origin)
                _log.error(
                    "refresh token from the future: the database went back in time",
                    session=str(state.id),
                    generations_ahead=presented.generation - state.generation,
                )
                raise self._refusal(verdict)
            case _:
                pass
        return False

    def _refusal(self, verdict: Verdict) -> InvalidGrantError:
        self._metrics.refreshes.labels(verdict.value).inc()
        return InvalidGrantError()
