"""Slows down guessing: failed logins by account, by client and by the pair of them, and requests by client.

Accounts are counted whether they exist or not, under names that a dump of the table does not give away. A
count is one atomic statement, so it is exact under any race and over all issuers. While somebody is blocked
nothing is hashed, and nothing that they do makes the block longer. No SQL, no HTTP, no clock of its own.

Whoever is *known* (comes from where this account has logged in before, or shows a refresh token of a session
of it) is judged by the pair alone: strangers who fail on purpose slow each other down and never the owner.
ADR 0046 has the reasons and the numbers.
"""

import hmac
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from issuer.audit import Origin
from issuer.client_address import network_of
from issuer.errors import TooManyAttemptsError
from issuer.metrics import Metrics

MAX_FAILURES: Final = 100
"""In a row; after the last of them the password opens nothing until it is reset (NIST SP 800-63B-4 §3.2.2)."""

_LONGEST_DELAY_SECONDS: Final = 15 * 60
_KEY_BYTES: Final = 16


class Scope(StrEnum):
    """What failed logins are counted by."""

    ACCOUNT = "account"
    ADDRESS = "address"
    PAIR = "pair"


class Action(StrEnum):
    """What is limited by the client alone, whether it succeeds or not."""

    REGISTER = "register"
    FORGOT = "forgot"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Count:
    """How often something was counted: `failures` times, last at `failed_at`, forgotten at `expires_at`."""

    failures: int
    failed_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """One to be counted.

    Attributes:
        key: whose count, 16 bytes.
        expires_at: when the count is forgotten, if this is its first; and if it `slides`, in any case.
        slides: counting puts off the forgetting.
    """

    key: bytes
    expires_at: datetime
    slides: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """What a login says of itself: all that the store needs to look up what it is judged by.

    Attributes:
        keys: whose failures count against it.
        email_key: the account, existing or not.
        network: first and last address of the client's network, or None where the socket has none.
        session_id: of a refresh token that was shown and whose MAC is ours.
    """

    keys: Mapping[Scope, bytes]
    email_key: str
    network: tuple[str, str] | None
    session_id: UUID | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a claim: whether it is of somebody known, and the counts that are not forgotten."""

    known: bool
    counts: Mapping[bytes, Count]


@dataclass(frozen=True, slots=True)
class Attempt:
    """A login that was let in, to be told of its end."""

    keys: Mapping[Scope, bytes]
    known: bool
    failed_before: bool


class ThrottleStore(Protocol):
    """What the throttle asks of `store/`. Each method is one statement."""

    async def count(self, tallies: Sequence[Tally], now: datetime) -> Mapping[bytes, Count]:
        """Count one more for each; the counts after it."""

    async def clear(self, keys: Sequence[bytes]) -> None:
        """Forget them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is free, and how long it is remembered.

    Attributes:
        failures: of logins, by scope: the next one costs a second, and each further one twice as much.
        memory: of those failures. It slides, but not for the address: many people may share one, and no
            success clears it.
        requests: of each action, from one address, in `window`.
        window: of the requests.
    """

    failures: Mapping[Scope, int]
    memory: Mapping[Scope, timedelta]
    requests: int
    window: timedelta


def limits(failures_per_address: int, requests_per_address: int) -> Limits:
    """The limits of an issuer: constants, but for how many people share an address."""
    return Limits(
        failures={Scope.ACCOUNT: 50, Scope.ADDRESS: failures_per_address, Scope.PAIR: 10},
        memory={Scope.ACCOUNT: timedelta(days=7), Scope.ADDRESS: timedelta(hours=1), Scope.PAIR: timedelta(days=1)},
        requests=requests_per_address,
        window=timedelta(minutes=10),
    )


class Throttle:
    """Judges attempts before they cost anything, and counts them after.

    Args:
        store: where the counts are.
        secret: the newest MAC secret of this moment, 32 bytes.
        limits: what is free.
        metrics: where the refused are counted.
        now: the time.
    """

    def __init__(
        self,
        store: ThrottleStore,
        secret: Callable[[], bytes],
        limits: Limits,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._secret = secret
        self._limits = limits
        self._throttled = metrics.throttled
        for label in (*Scope, *Action):
            self._throttled.labels(label)  # or the first of them would not be an increase
        self._now = now

    async def admit(self, action: Action, origin: Origin) -> None:
        """Count one request of `action`.

        Raises:
            TooManyAttemptsError: this client has made too many.
            UnavailableError: not now.
        """
        now = self._now()
        key = self._key(action, client_of(origin))
        counts = await self._store.count([Tally(key, now + self._limits.window, slides=False)], now)
        if counts[key].failures > self._limits.requests:
            raise self._refusal(action, counts[key].expires_at - now)

    def claim(self, email_key: str, origin: Origin, known_session: UUID | None = None) -> Claim:
        """What a login is looked up by: alike for accounts that exist and that do not.

        Args:
            email_key: whose login.
            origin: of the request.
            known_session: of a refresh token that the request shows; its MAC has been checked.
        """
        network = None if origin.address is None else network_of(origin.address)
        return Claim(self._keys(email_key, origin, known_session), email_key, network, known_session)

    def admit_login(self, claim: Claim, standing: Standing) -> Attempt:
        """Let a login in, or say when to try again.

        Raises:
            TooManyAttemptsError: too many have failed before it.
        """
        keys, counts, now = claim.keys, standing.counts, self._now()
        waits = {scope: self._wait(scope, counts.get(key), now) for scope, key in keys.items()}
        judging = [Scope.PAIR] if standing.known else list(Scope)
        strictest = max(judging, key=lambda scope: waits[scope])
        if waits[strictest] > timedelta():
            raise self._refusal(strictest, waits[strictest])
        failed_before = keys[Scope.ACCOUNT] in counts or keys[Scope.PAIR] in counts
        return Attempt(keys, standing.known, failed_before)

    async def count_failure(self, attempt: Attempt) -> bool:
        """Count a login that failed; whether its account has had its last attempt.

        Raises:
            UnavailableError: not now.
        """
        now = self._now()
        tallies = [
            Tally(key, now + self._limits.memory[scope], slides=scope is not Scope.ADDRESS)
            for scope, key in attempt.keys.items()
        ]
        counts = await self._store.count(tallies, now)
        return counts[attempt.keys[Scope.ACCOUNT]].failures >= MAX_FAILURES

    async def count_success(self, attempt: Attempt) -> None:
        """Forget the failures of the account and of the pair.

        Not of the address: the attacker's own account would buy them new guesses (allauth 65.14.2).

        Raises:
            UnavailableError: not now.
        """
        if attempt.failed_before:
            await self._store.clear([attempt.keys[Scope.ACCOUNT], attempt.keys[Scope.PAIR]])

    async def forgive(self, email_key: str, origin: Origin) -> None:
        """Forget the failures of an account, and its pair with this client: its password is a new one.

        Raises:
            UnavailableError: not now.
        """
        keys = self._keys(email_key, origin, None)
        await self._store.clear([keys[Scope.ACCOUNT], keys[Scope.PAIR]])

    def _keys(self, email_key: str, origin: Origin, known_session: UUID | None) -> dict[Scope, bytes]:
        """A shown session stands for the client in its pair: nobody at the same address can block it."""
        client = client_of(origin)
        mate = client if known_session is None else f"session {known_session}"
        return {
            Scope.ACCOUNT: self._key(Scope.ACCOUNT, email_key),
            Scope.ADDRESS: self._key(Scope.ADDRESS, client),
            Scope.PAIR: self._key(Scope.PAIR, email_key, mate),
        }

    def _key(self, *parts: str) -> bytes:
        text = "\0".join(parts).encode()
        return hmac.digest(_derived(self._secret()), text, "sha256")[:_KEY_BYTES]

    def _wait(self, scope: Scope, count: Count | None, now: datetime) -> timedelta:
        """None while failures are free, though one at this very moment may have been counted after our `now`."""
        cost = timedelta() if count is None else delay(count.failures, self._limits.failures[scope])
        if count is None or not cost:
            return timedelta()
        return min(count.failed_at + cost, count.expires_at) - now

    def _refusal(self, label: Scope | Action, wait: timedelta) -> TooManyAttemptsError:
        self._throttled.labels(label).inc()
        return TooManyAttemptsError(retry_after=max(1, math.ceil(wait.total_seconds())))


def delay(failures: int, free: int) -> timedelta:
    """After that many failures: none while they are free, then a second that doubles up to 15 minutes."""
    over = failures - free
    if over <= 0:
        return timedelta()
    doubled = 2 ** min(over - 1, _LONGEST_DELAY_SECONDS.bit_length())
    return timedelta(seconds=min(doubled, _LONGEST_DELAY_SECONDS))


def client_of(origin: Origin) -> str:
    """All who come without an address are one client: a limit is never skipped."""
    return "" if origin.address is None else network_of(origin.address)[0]


@lru_cache(maxsize=8)
def _derived(secret: bytes) -> bytes:
    """The key of the keys: the same secret also signs refresh tokens, under another label (RFC 5869 §3.2)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"throttle").derive(secret)
