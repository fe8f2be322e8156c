"""The use cases of sessions on a real database, in this process, with a test clock."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from issuer.accounts.models import Account
from issuer.accounts.store import AccountStore
from issuer.audit.events import RevocationReason
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.keys.watcher import KeyWatcher
from issuer.sessions.authorization import LoginRequest, RefreshRequest
from issuer.sessions.models import SessionLimits, StoredAccount
from issuer.sessions.service import SessionService
from issuer.sessions.store import SessionStore, revoke_sessions_of_user
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.publisher import StatusListPublisher
from issuer.status_lists.store import StatusListStore
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import LoginAttempt
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import TokenProfile, default_client
from issuer.tokens.refresh_token import RefreshTokens
from tests.support.postgres import fetch
from tests.support.signing_keys import generate_key

CONTEXT = RequestContext("self", "192.0.2.1", "a browser", "request-0001")
ISSUER = "https://issuer.example"
_HASH = "not a hash, but as long as one has to be"


LOGIN: Final = LoginRequest(default_client("gatepass"))
"""A login that names no client."""


@dataclass
class SessionBench:
    """The services of one issuer, without HTTP."""

    database: Database
    key_watcher: KeyWatcher
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    metrics: Metrics = field(default_factory=Metrics)
    per_account: int = 100

    def __post_init__(self) -> None:
        """Build the services."""
        self.users = AccountStore(self.database)
        self.rows = SessionStore(self.database, LOGIN.client)
        self.lists = StatusListStore(self.database)
        self.tokens = AccessTokens(self.key_watcher, TokenProfile(ISSUER, "gatepass"), self.clock, uuid4, lambda: 0.0)
        self.published = StatusListPublisher(self.lists, self.key_watcher, self.metrics, ISSUER)
        self.sessions = SessionService(
            self.rows,
            self.tokens,
            RefreshTokens(lambda: self.key_watcher.key_set.mac_secrets),
            StatusIndexAllocator(self.lists, ISSUER, self.published),
            self.metrics,
            SessionLimits(timedelta(days=14), timedelta(days=30), timedelta(seconds=120), self.per_account),
            self.clock,
            uuid4,
        )

    def clock(self) -> datetime:
        """Return the time of the test."""
        return self.now

    async def execute(self, statement: str, *arguments: object) -> list[Any]:
        """Run one statement directly; return its rows."""
        return await fetch(self.database, statement, *arguments)

    async def account(self) -> StoredAccount:
        """Return a new account, as a login reads it."""
        key = f"{uuid4().hex}@example.com"
        await self.users.insert_account(Account(uuid4(), key, self.now), key, _HASH, CONTEXT)
        _, found = await self.users.get_login_state(LoginAttempt(key, {}), self.now)
        assert found is not None
        return found

    async def refresh(self, token: str) -> str:
        """Return the successor of a refresh token."""
        return (await self.sessions.refresh(token, RefreshRequest(), CONTEXT)).refresh_token

    async def change(self, user_id: UUID, *, disable: bool) -> None:
        """Disable an account or change its password, with the two statements of every such change."""
        what = "disabled_at = now()" if disable else "password_changed_at = now()"
        reason = RevocationReason.ACCOUNT_DISABLED if disable else RevocationReason.PASSWORD_CHANGED
        async with self.database.transaction() as connection:
            await connection.execute(
                f"UPDATE users SET {what}, security_version = security_version + 1 WHERE id = $1", user_id
            )
            await revoke_sessions_of_user(connection, user_id, self.now, reason, CONTEXT)

    async def outcome(self, name: str) -> float:
        """Return how many refreshes had this outcome."""
        return self.metrics.registry.get_sample_value("gatepass_issuer_refreshes_total", {"outcome": name}) or 0.0


@asynccontextmanager
async def session_bench(url: str, connections: int = 10, per_account: int = 100) -> AsyncIterator[SessionBench]:
    """Yield a bench on a migrated database, with its own keys."""
    with tempfile.TemporaryDirectory(prefix="gatepass-keys-") as folder:
        await asyncio.to_thread(generate_key, Path(folder), datetime.now(UTC))
        database = Database(url, connections)
        try:
            yield SessionBench(database, KeyWatcher(Path(folder), Metrics()), per_account=per_account)
        finally:
            await database.close()


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[SessionBench]:
    """Yield a bench on a new database."""
    async with session_bench(database_url, connections=16) as built:
        yield built
