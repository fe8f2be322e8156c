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
    """One more failure for the counter at `key`; rejected while the counter waits, as it does after `free` failures.

    Attributes:
        key: 16 bytes.
        free: as in `login_limits.Limit`.
        expires_at: when the counter restarts, if this is its first.
    """

    key: bytes
    free: int
    expires_at: datetime


class CounterKind(StrEnum):
    """Failed logins are counted by these. The values are labels of a metric."""

    PAIR = "pair"
    """The account, from one network."""
    ACCOUNT = "account"
    """The account, existing or not."""
    NETWORK = "network"
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
    """A login attempt as the store looks it up: the same for accounts that exist and that do not."""

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
    def is_owner(self) -> bool:
        """Return whether the attempt comes from the proven owner."""
        return self.kinds is OWNER_KINDS


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that depend on how many users share a network.

    Attributes:
        failures: failed logins of a network per hour before delays start.
        requests: requests of each action per ten minutes.
    """

    failures: int
    requests: int
