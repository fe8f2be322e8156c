"""The values of rate limits."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID


class LimitedAction(StrEnum):
    """Requests that are limited by the client's network alone, whether they succeed or not."""

    REGISTER = "register"
    FORGOT = "forgot"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class CounterIncrement:
    """One more failure for a counter. After the free failures, it is not counted during a delay.

    Attributes:
        key: of the counter, 16 bytes.
        free: number of failures without a delay.
        expires_at: when the counter restarts, if this is its first failure.
    """

    key: bytes
    free: int
    expires_at: datetime


class CounterKind(StrEnum):
    """Kinds of counters of failed logins. The values are labels of a metric."""

    PAIR = "pair"
    """The account, from one network."""
    ACCOUNT = "account"
    """The account, existing or not."""
    NETWORK = "network"
    """The client's network: an IPv4 address or an IPv6 /64."""
    SESSION = "session"
    """One session of the account that was shown as proof."""
    ALL_SESSIONS = "all_sessions"
    """All sessions of the account that were shown as proof."""


UNPROVEN_KINDS: Final = (CounterKind.PAIR, CounterKind.ACCOUNT, CounterKind.NETWORK)
PROVEN_KINDS: Final = (CounterKind.SESSION, CounterKind.ALL_SESSIONS)
"""The first of each is cleared by a success and subtracted from the second. Rows are locked in this order."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The number of free failures, and the time after the first of them at which the counter restarts."""

    free: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter in the database: its count, the time of the last increment, and the time at which it restarts."""

    count: int
    last_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session that a request shows, by an access token or by a refresh token with a valid MAC.

    Attributes:
        id: of the session.
        generation: of the refresh token; None if it was an access token.
    """

    id: UUID
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A login attempt, for its lookup in the store: the same whether or not there is an account."""

    email_key: str
    keys: Mapping[CounterKind, bytes]
    shown: ShownSession | None = None


@dataclass(frozen=True, slots=True)
class LoginHistory:
    """The stored history of an attempt.

    Attributes:
        shows_own_session: the session that it shows is active and belongs to the account.
        counters: of the attempt, without expired ones.
    """

    shows_own_session: bool
    counters: Mapping[CounterKind, Counter]


@dataclass(frozen=True, slots=True)
class LoginDecision:
    """The counters that limit an attempt, the strictest of them, and the wait that it demands."""

    kinds: tuple[CounterKind, ...]
    strictest: CounterKind
    wait: timedelta

    @property
    def is_proven(self) -> bool:
        """Return whether the attempt shows a live session of its own account."""
        return self.kinds is PROVEN_KINDS
