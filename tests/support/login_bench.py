"""Logins at one issuer on a real database, in this process, with a test clock."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.accounts.models import Account
from issuer.accounts.registration import RegistrationService
from issuer.accounts.store import AccountStore
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.errors import InvalidCredentialsError, TooManyAttemptsError
from issuer.keys.mac_secrets import MacSecret
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.sessions.models import InsertResult, NewSession
from issuer.sessions.store import SessionStore
from issuer.status_lists.models import StatusListEntry
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import LoginAttempt, LoginDecision, ShownSession
from issuer.throttling.store import RateLimitStore
from issuer.throttling.throttle import Throttle
from tests.support.accounts import CHEAP_HASHES
from tests.support.postgres import fetch
from tests.support.session_bench import LOGIN

PASSWORD = "a long and lonely walk"
_SECRET = MacSecret("", b"s" * 32)

_INSERT_SESSION = """
INSERT INTO sessions (id, user_id, client_id, scope, generation, created_at, rotated_at, idle_expires_at, expires_at,
                      status_list_id, status_idx)
SELECT $1, id, '', '', 5, moment, moment, moment + interval '30 days', moment + interval '90 days', 1,
       (SELECT coalesce(max(status_idx), 0) + 1 FROM sessions)
FROM users, (SELECT $2::timestamptz AS moment) AS given WHERE email_key = $3
"""


@dataclass
class LoginBench:
    """The use cases of one issuer on the real store."""

    url: str
    database: Database
    authenticator: PasswordAuthenticator
    registration: RegistrationService
    throttle: Throttle
    metrics: Metrics
    now: list[datetime] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Open the stores."""
        self.users = AccountStore(self.database)
        self.sessions = SessionStore(self.database, LOGIN.client)

    def passes(self, **time: float) -> None:
        """Let time pass."""
        self.now[0] += timedelta(**time)

    def hashes(self) -> float:
        """Return the number of computed hashes."""
        return self.metrics.registry.get_sample_value("gatepass_issuer_argon2_computations_total") or 0

    def throttled(self, scope: str) -> float:
        """Return how many attempts this counter has rejected."""
        return self.metrics.registry.get_sample_value("gatepass_issuer_rate_limited_total", {"limit": scope}) or 0

    async def login(
        self, email: str, context: RequestContext, password: str = PASSWORD, shown: ShownSession | None = None
    ) -> int | str:
        """Log in; return `accepted`, `rejected`, or the seconds of Retry-After."""
        try:
            found = await self.authenticator.authenticate(email, password, context, shown)
        except InvalidCredentialsError:
            return "rejected"
        except TooManyAttemptsError as error:
            return error.retry_after
        later = self.now[0] + timedelta(days=1)
        index = StatusListEntry(uuid4().int % 2**60, 0)
        session = NewSession(
            id=uuid4(),
            client_id=LOGIN.client.id,
            client_version=0,
            scope="",
            scope_limited=False,
            audiences=None,
            created_at=self.now[0],
            idle_expires_at=later,
            expires_at=later,
        )
        match await self.sessions.insert_session(session, index, found.account, context, 1000, found.limits):
            case InsertResult.INSERTED:
                return "accepted"
            case InsertResult.RATE_LIMITED:
                return 1
            case _:
                return "rejected"

    async def reauthenticate(self, email: str, context: RequestContext, password: str, session_id: UUID) -> int | str:
        """Confirm the password within a session; return values as of `login`."""
        (user,) = await self.execute("SELECT id FROM users WHERE email_key = $1", email)
        account = Account(user["id"], email, self.now[0])
        try:
            await self.authenticator.reauthenticate(account, password, context, ShownSession(session_id))
        except InvalidCredentialsError:
            return "rejected"
        except TooManyAttemptsError as error:
            return error.retry_after
        return "accepted"

    async def admit(
        self, email: str, context: RequestContext, shown: ShownSession | None = None
    ) -> tuple[LoginAttempt, LoginDecision]:
        """Admit an attempt by the limits before its hash."""
        attempt = self.throttle.attempt(email, context, shown)
        history, _ = await self.users.get_login_state(attempt, self.now[0])
        return attempt, self.throttle.decide(history)

    async def count_failure(self, admitted: tuple[LoginAttempt, LoginDecision], context: RequestContext) -> bool:
        """Record that an admitted attempt has failed; return False if its outcome must not be revealed."""
        attempt, decision = admitted
        increments = self.throttle.increments(attempt, decision)
        return await self.users.count_failed_login(
            attempt.email_key, increments, self.now[0], context, may_disable=not decision.is_proven
        )

    async def fail(self, email: str, context: RequestContext, times: int = 1) -> list[int | str]:
        """Log in with a wrong password."""
        return [await self.login(email, context, "wrong") for _ in range(times)]

    async def execute(self, statement: str, *arguments: object) -> list[Any]:
        """Run one statement directly; return its rows."""
        return await fetch(self.database, statement, *arguments)

    async def session_of(self, email: str) -> ShownSession:
        """Create a session of an account; return it with its newest refresh token."""
        session_id = uuid4()
        await self.execute(_INSERT_SESSION, session_id, self.now[0], email)
        return ShownSession(session_id, 5)

    async def end(self, session_id: UUID) -> None:
        """End a session."""
        ended = "UPDATE sessions SET ended_at = $2::timestamptz, end_reason = 'logout' WHERE id = $1"
        await self.execute(ended, session_id, self.now[0])


async def burst(
    benches: Sequence[LoginBench], email: str, contexts: Sequence[RequestContext], shown: ShownSession | None = None
) -> int:
    """Fail once from each context at each issuer, all after their hash at the same time; return how many failed."""
    admitted = [
        (bench, await bench.admit(email, context, shown), context) for bench in benches for context in contexts
    ]
    counted = (bench.count_failure(attempt, context) for bench, attempt, context in admitted)
    return sum(await asyncio.gather(*counted))


@asynccontextmanager
async def login_bench(
    url: str, secret: MacSecret = _SECRET, per_network: int = 1000, now: list[datetime] | None = None
) -> AsyncIterator[LoginBench]:
    """Yield an issuer without HTTP on a migrated database. With `now`, it shares the clock of another bench."""
    metrics, times = Metrics(), now or [datetime.now(UTC)]
    hash_queue, database = PasswordHashQueue(2, 30), Database(url, 8)
    users, passwords = AccountStore(database), PasswordHasher(hash_queue, metrics, CHEAP_HASHES)
    throttle = Throttle(RateLimitStore(database), lambda: secret, per_network, 5, metrics, lambda: times[0])
    registration = RegistrationService(
        users,
        passwords,
        PasswordPolicy(15),
        metrics,
        lambda: times[0],
        uuid4,
        throttle,
    )
    authenticator = PasswordAuthenticator(users, passwords, throttle, lambda: times[0])
    try:
        yield LoginBench(url, database, authenticator, registration, throttle, metrics, times)
    finally:
        hash_queue.close()
        await database.close()
