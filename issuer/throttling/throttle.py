"""Rate limits: of failed logins by the rule of `login_limits`, and of other requests by the client's network.

Keys of counters are HMACs, so that a dump of the table names neither accounts nor clients. An attempt is checked
twice: before its hash, which saves the hash, and in the atomic statement that records its outcome. So any number of
concurrent attempts at any number of issuers learn no more than the limits allow.
"""

import hmac
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from issuer.context import RequestContext
from issuer.errors import DatabaseUnavailableError, TooManyAttemptsError
from issuer.telemetry.metrics import Metrics
from issuer.throttling.client_ip import network_of
from issuer.throttling.login_limits import decide, login_limits
from issuer.throttling.models import (
    CounterIncrement,
    CounterKind,
    LimitedAction,
    Limits,
    LoginAttempt,
    LoginDecision,
    LoginHistory,
    ShownSession,
)
from issuer.throttling.store import RateLimitStore

_KEY_BYTES: Final = 16
_WINDOW: Final = timedelta(minutes=10)

_log = structlog.get_logger(__name__)


class Throttle:
    """Rejects attempts and requests beyond their rate limits.

    Args:
        store: of the counters.
        secret: returns the newest MAC secret, 32 bytes.
        limits: of one network.
        metrics: counts rejections.
        now: returns the time.
    """

    def __init__(
        self,
        store: RateLimitStore,
        secret: Callable[[], bytes],
        limits: Limits,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._secret = secret
        self._mac_key = (b"", b"")
        self._requests = limits.requests
        self._limits = login_limits(limits.failures)
        self._throttled = metrics.rate_limited
        for label in (*CounterKind, *LimitedAction):
            self._throttled.labels(label)  # create the series, so that rate() sees the first increment
        self._now = now

    async def admit(self, action: LimitedAction, context: RequestContext) -> None:
        """Count one request of `action`.

        Raises:
            TooManyAttemptsError: this network has sent too many.
            UnavailableError: the database is unavailable.
        """
        now = self._now()
        count, expires_at = await self._store.count_request(
            self._key(action, ip_network_of(context)), now, now + _WINDOW
        )
        if count > self._requests:
            raise self._rejection(action, expires_at - now)

    def attempt(self, email_key: str, context: RequestContext, shown: ShownSession | None = None) -> LoginAttempt:
        """Return the keys that a login is looked up by, the same for accounts that exist and that do not.

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

    def decide(self, history: LoginHistory) -> LoginDecision:
        """Return the counters that limit an attempt, if it need not wait.

        Raises:
            TooManyAttemptsError: too many have failed before; says when to retry.
        """
        decision = decide(history, self._limits, self._now())
        if decision.wait:
            raise self._rejection(decision.strictest, decision.wait)
        return decision

    def increments(self, attempt: LoginAttempt, decision: LoginDecision) -> tuple[CounterIncrement, ...]:
        """Return what a failure of this attempt counts, in the order in which the rows are locked."""
        now = self._now()
        return tuple(
            CounterIncrement(attempt.keys[kind], self._limits[kind].free, now + self._limits[kind].memory)
            for kind in decision.kinds
        )

    def overtaken(self, decision: LoginDecision) -> TooManyAttemptsError:
        """Return the error for an attempt whose limit was used up by others during its hash."""
        return self._rejection(decision.strictest, timedelta(seconds=1))

    async def reset(self, email_key: str, context: RequestContext, shown: ShownSession | None = None) -> None:
        """Clear the counters of an account, also with this network and this session, after its password was changed.

        The password is changed in any case: an unavailable database is only logged.
        """
        keys = dict(self.attempt(email_key, context, shown).keys)
        del keys[CounterKind.NETWORK]  # also counts guesses at other accounts
        keys[CounterKind.OWNER] = self._key(CounterKind.OWNER, email_key)
        try:
            await self._store.clear(list(keys.values()))
        except DatabaseUnavailableError:
            _log.warning("login_counters_not_reset")

    def _key(self, *parts: str) -> bytes:
        secret = self._secret()
        if secret != self._mac_key[0]:
            self._mac_key = (secret, _derive_key(secret))
        return hmac.digest(self._mac_key[1], "\0".join(parts).encode(), "sha256")[:_KEY_BYTES]

    def _rejection(self, label: CounterKind | LimitedAction, wait: timedelta) -> TooManyAttemptsError:
        self._throttled.labels(label).inc()
        return TooManyAttemptsError(retry_after=max(1, math.ceil(wait.total_seconds())))


def ip_network_of(context: RequestContext) -> str:
    """Return the first IP address of the client's network. Requests without one share a limit: none is skipped."""
    return "" if context.ip_address is None else network_of(context.ip_address)[0]


def _derive_key(secret: bytes) -> bytes:
    # The same secret also signs refresh tokens: the label keeps the keys apart (RFC 5869 §3.2).
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"throttle").derive(secret)
