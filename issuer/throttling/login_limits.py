"""The rule that limits password guessing, as pure functions. ADR 0084 explains it.

Failed logins are counted. A login that shows a live session of its own account is *proven* and is limited only by
that session and by the account's counter `all_sessions`. Every other login is limited by the account, the client's
network and the pair of them. After the free failures of a counter each further attempt must wait, each time twice as
long. Nothing else that a client shows, and no earlier behaviour of the account, changes the rule. No I/O, no clock.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from issuer.throttling.models import (
    PROVEN_KINDS,
    UNPROVEN_KINDS,
    Counter,
    CounterKind,
    Limit,
    LoginDecision,
    LoginHistory,
)

MAX_FAILURES: Final = 100
"""Per account. After the last one the password is disabled (NIST SP 800-63B-4 §3.2.2). After as many failures of
proven logins, sessions no longer prove a login."""

DELAYS: Final = tuple(timedelta(seconds=seconds) for seconds in (*(2**power for power in range(10)), 15 * 60))
"""Between the last free failure and the next attempt, and after each further failure; the last one repeats."""


def login_limits(failures_per_network: int) -> Mapping[CounterKind, Limit]:
    """Return the limits of an issuer; only that of a network depends on the settings."""
    return {
        CounterKind.PAIR: Limit(10, timedelta(days=1)),
        CounterKind.ACCOUNT: Limit(50, timedelta(days=7)),
        CounterKind.NETWORK: Limit(failures_per_network, timedelta(hours=1)),
        CounterKind.SESSION: Limit(10, timedelta(days=1)),
        # Without delays (see MAX_FAILURES): a stolen session must not slow down the other devices of the user.
        CounterKind.ALL_SESSIONS: Limit(MAX_FAILURES, timedelta(days=7)),
    }


def decide(history: LoginHistory, limits: Mapping[CounterKind, Limit], now: datetime) -> LoginDecision:
    """Return how long an attempt must wait, and because of which counter."""
    proofs = history.counters.get(CounterKind.ALL_SESSIONS)
    is_proven = history.shows_own_session and (proofs is None or proofs.count < MAX_FAILURES)
    kinds = PROVEN_KINDS if is_proven else UNPROVEN_KINDS
    waits = {kind: _wait(history.counters.get(kind), limits[kind].free, now) for kind in kinds}
    strictest = max(kinds, key=lambda kind: waits[kind])
    return LoginDecision(kinds, strictest, waits[strictest])


def delay(count: int, free: int) -> timedelta:
    """Return the time between the last of `count` failures and the next attempt."""
    return timedelta() if count < free else DELAYS[min(count - free, len(DELAYS) - 1)]


def _wait(counter: Counter | None, free: int, now: datetime) -> timedelta:
    """Return how long an attempt must wait. `last_at` may be later than `now`: another issuer's clock wrote it."""
    if counter is None or counter.count < free:
        return timedelta()
    until = min(counter.last_at + delay(counter.count, free), counter.expires_at)
    return max(until - now, timedelta())
