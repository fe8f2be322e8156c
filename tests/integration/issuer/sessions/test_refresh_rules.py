"""The statement that refreshes a session rejects exactly what the rules in Python reject."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from issuer.errors import InvalidScopeError, InvalidTargetError
from issuer.sessions.authorization import RefreshRequest, authorize_refresh
from issuer.sessions.refresh_policy import RefreshOutcome, evaluate_refresh
from issuer.tokens.refresh_token import RefreshToken
from tests.support.postgres import Postgres
from tests.support.session_bench import CONTEXT, LOGIN, SessionBench, session_bench

tokens = st.frozensets(st.sampled_from("abc"))
scopes = tokens.map(lambda scope: " ".join(sorted(scope)))
names = st.sampled_from(["gatepass", "x", "y"])
audiences = st.lists(names, min_size=1, max_size=2, unique=True)


@dataclass(frozen=True)
class Rows:
    """A session with its account and its client."""

    client_id: str
    login_scope: str
    scope_limited: bool
    audiences: list[str] | None
    account_scope: str
    client_scope: str
    client_audiences: list[str]
    is_disabled: bool
    is_public: bool


rows = st.builds(
    Rows,
    st.sampled_from(["first-party", "shop", "deleted"]),
    scopes,
    st.booleans(),
    st.none() | audiences,
    scopes,
    scopes,
    audiences,
    st.sampled_from([False, False, True]),
    st.sampled_from([True, True, False]),
)
requests = st.builds(
    RefreshRequest,
    st.none() | st.sampled_from(["first-party", "shop", "deleted"]),
    st.none() | tokens.filter(bool),
    st.none() | names,
)

WRITE = """
WITH client AS (
  INSERT INTO clients (id, name, auth_method, secret_hash, scope, audiences, created_at, disabled_at)
  VALUES ('shop', 'shop', $7, $8, $5, $6, now(), $9)
  ON CONFLICT (id) DO UPDATE SET auth_method = EXCLUDED.auth_method, secret_hash = EXCLUDED.secret_hash,
    scope = EXCLUDED.scope, audiences = EXCLUDED.audiences, disabled_at = EXCLUDED.disabled_at
), account AS (
  UPDATE users SET scope = $10 WHERE id = (SELECT user_id FROM sessions WHERE id = $11)
)
UPDATE sessions SET client_id = $1, scope = $2, scope_limited = $3, audiences = $4, generation = 0 WHERE id = $11
"""


@dataclass
class Tables:
    """One session in the real tables."""

    runner: asyncio.Runner
    bench: SessionBench
    session_id: UUID

    async def write(self, row: Rows) -> None:
        async with self.bench.database.connection() as connection:
            await connection.execute(
                WRITE,
                row.client_id,
                row.login_scope,
                row.scope_limited,
                row.audiences,
                row.client_scope,
                row.client_audiences,
                "none" if row.is_public else "client_secret_basic",
                None if row.is_public else bytes(32),
                datetime.now(UTC) if row.is_disabled else None,
                row.account_scope,
                self.session_id,
            )

    async def compare(self, row: Rows, request: RefreshRequest) -> None:
        await self.write(row)
        presented, now = RefreshToken(self.session_id, 0), self.bench.now
        state = await self.bench.rows.find_state(self.session_id)
        assert state is not None
        retry = self.bench.sessions.limits.retry
        outcome = evaluate_refresh(state, presented, request.client_id, now, retry)
        allowed = None
        if outcome is RefreshOutcome.ROTATE:
            with suppress(InvalidScopeError, InvalidTargetError):
                allowed = authorize_refresh(state, request)
        rotated = await self.bench.rows.rotate(presented, request, now, state.expires_at)
        assert (rotated is not None) == (allowed is not None)
        if rotated is not None:
            assert authorize_refresh(rotated, request) == allowed


@pytest.fixture(scope="module")
def tables(postgres: Postgres) -> Iterator[Tables]:
    with asyncio.Runner() as runner:
        bench_context = session_bench(postgres.migrated_database())
        bench = runner.run(bench_context.__aenter__())
        account = runner.run(bench.account())
        created = runner.run(bench.sessions.create(account, LOGIN, CONTEXT))
        presented = bench.sessions.read_refresh_token(created.refresh_token)
        assert presented is not None
        yield Tables(runner, bench, presented.session_id)
        runner.run(bench_context.__aexit__(None, None, None))


@given(rows, requests)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_statement_and_the_rules_agree(tables: Tables, row: Rows, request: RefreshRequest) -> None:
    tables.runner.run(tables.compare(row, request))
