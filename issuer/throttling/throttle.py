"""Rate limits: of failed logins by the rule of `login_limits`, and of other requests by the client's network.

Keys are HMACs, so that a dump of the table names neither accounts nor clients. An attempt is judged twice: before its
hash, which saves the hash, and in the statement that records its outcome, which is atomic, so that any number of
attempts at once over any number of issuers learn no more than the limits allow. No SQL, no HTTP, no clock of its own.
"""

import hmac
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from issuer.context import RequestContext
from issuer.errors import TooManyAttemptsError
from issuer.telemetry.metrics import Metrics
from issuer.throttling.client_ip import network_of
from issuer.throttling.login_limits import (
    CounterKind,
    LoginAttempt,
    LoginDecision,
    LoginHistory,
    ShownSession,
    judge,
    login_limits,
)

_KEY_BYTES: Final = 16
_WINDOW: Final = timedelta(minutes=10)


class LimitedAction(StrEnum):
    """Requests that are limited by the client's network alone, whether they succeed or not."""

    REGISTER = "register"
    FORGOT = "forgot"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class CounterIncrement:
    """One more for the counter at `key`: refused while it waits, which it does after `free` of them.

    Attributes:
        key: 16 bytes.
        free: as in `login_limits.Limit`.
        expires_at: when the counter restarts, if this is its first.
    """

    key: bytes
    free: int
    expires_at: datetime


class ThrottleStore(Protocol):
    """What the throttle asks of `store/`. Each method is one statement."""

    async def count_request(self, key: bytes, now: datetime, expires_at: datetime) -> tuple[int, datetime]:
        """Count one request; how many there are now, and when they are forgotten."""

    async def clear(self, keys: Sequence[bytes]) -> None:
        """Delete these counters. Their rows are locked in this order."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What depends on how many people share a network.

    Attributes:
        failures: failed logins of a network that are free, in an hour.
        requests: requests of each action, in ten minutes.
    """

    failures: int
    requests: int


class Throttle:
    """Limits attempts before they cost anything.

    Args:
        store: where the counters are.
        secret: the newest MAC secret of this moment, 32 bytes.
        limits: of one network.
        metrics: where rejected attempts are counted.
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
        self._requests = limits.requests
        self._limits = login_limits(limits.failures)
        self._throttled = metrics.throttled
        for label in (*CounterKind, *LimitedAction):
            self._throttled.labels(label)  # or the first of them would not be an increase
        self._now = now

    async def admit(self, action: LimitedAction, context: RequestContext) -> None:
        """Count one request of `action`.

        Raises:
            TooManyAttemptsError: this network has sent too many.
            UnavailableError: not now.
        """
        now = self._now()
        count, expires_at = await self._store.count_request(
            self._key(action, ip_network_of(context)), now, now + _WINDOW
        )
        if count > self._requests:
            raise self._refusal(action, expires_at - now)

    def attempt(self, email_key: str, context: RequestContext, shown: ShownSession | None = None) -> LoginAttempt:
        """Return what a login is looked up by, alike for accounts that exist and that do not.

        Args:
            email_key: of the account.
            context: of the request.
            shown: the session that the request shows, if any.
        """
        network = ip_network_of(context)
        keys = {
            CounterKind.PAIR: self._key(CounterKind.PAIR, email_key, network),
            CounterKind.ACCOUNT: self._key(CounterKind.ACCOUNT, email_key),
            CounterKind.NETWORK: self._key(CounterKind.NETWORK, network),
        }
        if shown is not None:
            keys[CounterKind.SESSION] = self._key(CounterKind.SESSION, email_key, str(shown.id))
            keys[CounterKind.OWNER] = self._key(CounterKind.OWNER, email_key)
        return LoginAttempt(email_key, keys, shown)

    def judge(self, history: LoginHistory) -> LoginDecision:
        """Let an attempt pass, or say when to try again.

        Raises:
            TooManyAttemptsError: too many have failed before it.
        """
        decision = judge(history, self._limits, self._now())
        if decision.wait:
            raise self._refusal(decision.strictest, decision.wait)
        return decision

    def increments(self, attempt: LoginAttempt, decision: LoginDecision) -> tuple[CounterIncrement, ...]:
        """Return what a failure of this attempt counts, in the order in which the rows are locked."""
        now = self._now()
        return tuple(
            CounterIncrement(attempt.keys[kind], self._limits[kind].free, now + self._limits[kind].memory)
            for kind in decision.kinds
        )

    def overtaken(self, decision: LoginDecision) -> TooManyAttemptsError:
        """Return the refusal of an attempt whose limit was used up by others during its hash."""
        return self._refusal(decision.strictest, timedelta(seconds=1))

    async def forgive(self, email_key: str, context: RequestContext, shown: ShownSession | None = None) -> None:
        """Clear the counters of an account, with those of this network and this session: its password is a new one.

        Raises:
            UnavailableError: not now.
        """
        keys = dict(self.attempt(email_key, context, shown).keys)
        del keys[CounterKind.NETWORK]  # others guess from it too
        keys[CounterKind.OWNER] = self._key(CounterKind.OWNER, email_key)
        await self._store.clear(list(keys.values()))

    def _key(self, *parts: str) -> bytes:
        text = "\0".join(parts).encode()
        return hmac.digest(_derived(self._secret()), text, "sha256")[:_KEY_BYTES]

    def _refusal(self, label: CounterKind | LimitedAction, wait: timedelta) -> TooManyAttemptsError:
        self._throttled.labels(label).inc()
        return TooManyAttemptsError(retry_after=max(1, math.ceil(wait.total_seconds())))


def ip_network_of(context: RequestContext) -> str:
    """All who come without an address are one client: a limit is never skipped."""
    return "" if context.ip_address is None else network_of(context.ip_address)[0]


@lru_cache(maxsize=8)
def _derived(secret: bytes) -> bytes:
    """The key of the keys: the same secret also signs refresh tokens, under another label (RFC 5869 §3.2)."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"throttle").derive(secret)
