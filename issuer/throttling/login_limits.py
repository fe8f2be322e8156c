"""The rule that limits password guessing, as pure functions. ADR 0084 explains it.

Failed logins are counted. A login that shows a live session of its own account comes from the *proven owner* and is
limited by that session alone; every other login is limited by the account, the client's network and the pair of
them. After the free failures of a counter each further attempt waits, twice as long each time. Nothing else that a
client shows, and nothing that an account did before, changes the rule. No I/O, no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

MAX_FAILURES: Final = 100
"""In total per account. After the last one the password is disabled (NIST SP 800-63B-4 §3.2.2), and after as many
with proof a session proves nothing more."""

DELAYS: Final = tuple(timedelta(seconds=seconds) for seconds in (*(2**power for power in range(10)), 15 * 60))
"""Between the last free failure and the next attempt, and after each further failure; the last one repeats."""


class CounterKind(StrEnum):
    """Failed logins are counted by these. The values are labels of a metric."""

    PAIR = "pair"
    """The account as guessed at from one network."""
    ACCOUNT = "account"
    """The account, existing or not."""
    NETWORK = "address"
    """The client's network: an IPv4 address or an IPv6 /64."""
    SESSION = "session"
    """One session of the account that was shown as proof."""
    OWNER = "owner"
    """All sessions of the account that were shown as proof."""


UNPROVEN_KINDS: Final = (CounterKind.PAIR, CounterKind.ACCOUNT, CounterKind.NETWORK)
OWNER_KINDS: Final = (CounterKind.SESSION, CounterKind.OWNER)
"""The first of each is cleared by a success and subtracted from the second. Rows are locked in this order."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The number of free failures, and the time after the first of them at which the counter restarts."""

    free: int
    memory: timedelta


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter in the database: its count, the time of the last increment, and the time at which it restarts."""

    count: int
    last_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session that a request shows, by an access token or by a refresh token whose MAC is ours.

    Attributes:
        id: of the session.
        generation: of the refresh token; None if it was an access token.
    """

    id: UUID
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A login attempt as the store looks it up: alike for accounts that exist and that do not."""

    email_key: str
    keys: Mapping[CounterKind, bytes]
    shown: ShownSession | None = None


@dataclass(frozen=True, slots=True)
class LoginHistory:
    """What the database knows of an attempt.

    Attributes:
        shows_own_session: the session that it shows is live and of its own account.
        counters: those of the attempt that have not expired.
    """

    shows_own_session: bool
    counters: Mapping[CounterKind, Counter]


@dataclass(frozen=True, slots=True)
class LoginDecision:
    """Which counters limit an attempt, the strictest of them, and how long that one makes it wait."""

    kinds: tuple[CounterKind, ...]
    strictest: CounterKind
    wait: timedelta

    @property
    def is_owner(self) -> bool:
        """The attempt comes from the proven owner."""
        return self.kinds is OWNER_KINDS


def login_limits(failures_per_network: int) -> Mapping[CounterKind, Limit]:
    """Return the limits of an issuer: constants, except for how many people share a network."""
    return {
        CounterKind.PAIR: Limit(10, timedelta(days=1)),
        CounterKind.ACCOUNT: Limit(50, timedelta(days=7)),
        CounterKind.NETWORK: Limit(failures_per_network, timedelta(hours=1)),
        CounterKind.SESSION: Limit(10, timedelta(days=1)),
        # No delay of its own: a stolen session must not slow down the owner's other devices.
        CounterKind.OWNER: Limit(MAX_FAILURES, timedelta(days=7)),
    }


def judge(history: LoginHistory, limits: Mapping[CounterKind, Limit], now: datetime) -> LoginDecision:
    """Return how long an attempt must wait, and because of which counter."""
    proofs = history.counters.get(CounterKind.OWNER)
    is_owner = history.shows_own_session and (proofs is None or proofs.count < MAX_FAILURES)
    kinds = OWNER_KINDS if is_owner else UNPROVEN_KINDS
    waits = {kind: _wait(history.counters.get(kind), limits[kind].free, now) for kind in kinds}
    strictest = max(kinds, key=lambda kind: waits[kind])
    return LoginDecision(kinds, strictest, waits[strictest])


def delay(count: int, free: int) -> timedelta:
    """Return the time between the last of `count` failures and the next attempt."""
    return timedelta() if count < free else DELAYS[min(count - free, len(DELAYS) - 1)]


def _wait(counter: Counter | None, free: int, now: datetime) -> timedelta:
    """Return zero for a free attempt. `last_at` may be slightly later than `now`: another issuer's clock."""
    if counter is None or counter.count < free:
        return timedelta()
    until = min(counter.last_at + delay(counter.count, free), counter.expires_at)
    return max(until - now, timedelta())
