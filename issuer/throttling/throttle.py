"""Rate limits: of failed logins by the rule of `login_limits`, and of other requests by the client's network.

Keys of counters are HMACs, so that a dump of the table reveals neither accounts nor client IPs. An attempt is checked
twice: before its hash, which saves the hash, and in the atomic statement that records its outcome. So concurrent
attempts, even at several issuers, cannot try more passwords than the limits allow.
"""

import hmac
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from issuer.context import RequestContext
from issuer.errors import DatabaseUnavailableError, TooManyAttemptsError
from issuer.keys.mac_secrets import MacSecret
from issuer.telemetry.metrics import Metrics
from issuer.throttling.client_ip import network_of
from issuer.throttling.login_limits import decide, login_limits
from issuer.throttling.models import (
    CounterIncrement,
    CounterKind,
    LimitedAction,
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
    """The rejection of attempts and requests beyond their rate limits.

    Args:
        secret: returns the current MAC secret.
        failures: failed logins of one network in an hour before delays start.
        requests: requests of one network for each action in ten minutes.
    """

    def __init__(
        self,
        store: RateLimitStore,
        secret: Callable[[], MacSecret],
        failures: int,
        requests: int,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._secret = secret
        self._requests = requests
        self._limits = login_limits(failures)
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
        """Return the keys of the counters of a login, the same whether or not there is an account."""
        network = ip_network_of(context)
        keys = {
            CounterKind.PAIR: self._key(CounterKind.PAIR, email_key, network),
            CounterKind.ACCOUNT: self._key(CounterKind.ACCOUNT, email_key),
            CounterKind.NETWORK: self._key(CounterKind.NETWORK, network),
        }
        if shown is not None:
            keys[CounterKind.SESSION] = self._key(CounterKind.SESSION, email_key, str(shown.id))
            keys[CounterKind.ALL_SESSIONS] = self._key(CounterKind.ALL_SESSIONS, email_key)
        return LoginAttempt(email_key, keys, shown)

    def decide(self, history: LoginHistory) -> LoginDecision:
        """Return the counters that limit an attempt, unless it must wait.

        Raises:
            TooManyAttemptsError: too many attempts have failed. The error has the time until a retry.
        """
        decision = decide(history, self._limits, self._now())
        if decision.wait:
            raise self._rejection(decision.strictest, decision.wait)
        return decision

    def increments(self, attempt: LoginAttempt, decision: LoginDecision) -> tuple[CounterIncrement, ...]:
        """Return the increments for a failure of this attempt, in the order in which the rows are locked."""
        now = self._now()
        return tuple(
            CounterIncrement(attempt.keys[kind], self._limits[kind].free, now + self._limits[kind].window)
            for kind in decision.kinds
        )

    def overtaken(self, decision: LoginDecision) -> TooManyAttemptsError:
        """Return the error for an attempt whose limit other attempts used up during its hash."""
        return self._rejection(decision.strictest, timedelta(seconds=1))

    async def reset(self, email_key: str, context: RequestContext, shown: ShownSession | None = None) -> None:
        """Clear the counters of an account after its password was changed, also those with this network and session.

        An unavailable database is only logged, since the password has been changed already.
        """
        keys = dict(self.attempt(email_key, context, shown).keys)
        del keys[CounterKind.NETWORK]  # it also counts failures at other accounts
        keys[CounterKind.ALL_SESSIONS] = self._key(CounterKind.ALL_SESSIONS, email_key)
        try:
            await self._store.clear(list(keys.values()))
        except DatabaseUnavailableError:
            _log.warning("login_counters_not_reset")

    def _key(self, *parts: str) -> bytes:
        return hmac.digest(self._secret().counter_key, "\0".join(parts).encode(), "sha256")[:_KEY_BYTES]

    def _rejection(self, label: CounterKind | LimitedAction, wait: timedelta) -> TooManyAttemptsError:
        self._throttled.labels(label).inc()
        return TooManyAttemptsError(retry_after=max(1, math.ceil(wait.total_seconds())))


def ip_network_of(context: RequestContext) -> str:
    """Return the first IP address of the client's network. Requests without an IP address share one limit."""
    return "" if context.ip_address is None else network_of(context.ip_address)
