"""Events of sessions are in the audit trail, the log and the metrics (real PostgreSQL)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from issuer.audit.events import RevocationReason
from issuer.errors import DatabaseUnavailableError, InvalidGrantError, InvalidTokenError, TooManyAttemptsError
from issuer.sessions import store
from issuer.sessions.authorization import LoginRequest, RefreshRequest
from issuer.sessions.models import Position, StoredAccount
from issuer.sessions.store import revoke_sessions_of_client
from issuer.throttling.models import CounterIncrement
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.additional_claims import ClaimTypes
from issuer.tokens.models import PublicClient, TokenProfile
from shared.access_token import REVOCATION_RETENTION_SECONDS
from tests.support.postgres import execute, wait_until_blocked
from tests.support.session_bench import CONTEXT, ISSUER, LOGIN, SessionBench, session_bench
from tests.support.token_forge import claims_of

PUBLIC_CLIENT = """
INSERT INTO clients (id, name, auth_method, scope, audiences, created_at)
VALUES ('shop', 'a shop', 'none', 'profile', '{gatepass}', now())
"""
WHO = (CONTEXT.actor, CONTEXT.ip_address, CONTEXT.request_id)


class Session:
    """A session that was just created."""

    def __init__(self, bench: SessionBench, account: StoredAccount, token: str) -> None:
        presented = bench.sessions.read_refresh_token(token)
        assert presented is not None
        self.bench, self.account, self.token, self.id = bench, account, token, presented.session_id

    async def expect_rejection(self, token: str) -> None:
        with pytest.raises(InvalidGrantError):
            await self.bench.refresh(token)

    async def log_in_again(self) -> "Session":
        tokens = await self.bench.sessions.create(self.account, LOGIN, CONTEXT)
        return Session(self.bench, self.account, tokens.refresh_token)

    async def execute(self, statement: str) -> None:
        async with self.bench.database.connection() as connection:
            await connection.execute(statement)

    def count(self, name: str, **labels: str) -> float:
        return self.bench.metrics.registry.get_sample_value(f"gatepass_issuer_{name}_total", labels) or 0


@pytest.fixture
def on(database_url: str) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that uses a new session and returns the log lines."""

    def run(work: Callable[[Session], Awaitable[None]], per_account: int = 100) -> list[Any]:
        async def go() -> None:
            async with session_bench(database_url, per_account=per_account) as bench:
                account = await bench.account()
                tokens = await bench.sessions.create(account, LOGIN, CONTEXT)
                await work(Session(bench, account, tokens.refresh_token))

        with capture_logs() as lines:
            asyncio.run(go())
        return [line for line in lines if line["event"] not in {"key_set_loaded", "account_registered"}]

    return run


def events(url: str) -> list[tuple[Any, ...]]:
    """Return the events of sessions; checks that each has its actor, IP address and request id."""
    rows = execute(
        url,
        "SELECT kind, session_id, user_id, client_id, detail::text, actor, host(address), request_id "
        "FROM audit_events WHERE kind <> 'account_registered' ORDER BY at, session_id, kind",
    )
    for row in rows:
        assert tuple(row)[5:] == WHO
        assert None not in {row["user_id"], row["client_id"]}
    return [(row["kind"], row["session_id"], json.loads(row["detail"])) for row in rows]


def revoked_until(url: str) -> set[Any]:
    return {row["expires_at"] for row in execute(url, "SELECT expires_at FROM revocations")}


def test_a_login_is_recorded_logged_and_counted(on: Callable[..., list[Any]], database_url: str) -> None:
    made: list[Session] = []

    async def work(session: Session) -> None:
        made.append(session)

    lines = on(work)
    (session,) = made
    assert events(database_url) == [("login_succeeded", session.id, {})]
    assert lines == [
        {
            "event": "session_created",
            "account": str(session.account.id),
            "session": str(session.id),
            "log_level": "info",
        }
    ]
    assert session.count("sessions_created") == 1
    row = execute(database_url, "SELECT *, host(address) AS host FROM sessions")[0]
    assert (row["host"], row["user_agent"]) == (CONTEXT.ip_address, CONTEXT.user_agent)
    now = session.bench.now
    assert (row["created_at"], row["idle_expires_at"], row["expires_at"]) == (
        now,
        now + timedelta(days=14),
        now + timedelta(days=30),
    )


def test_a_reused_token_is_recorded_logged_and_counted(on: Callable[..., list[Any]], database_url: str) -> None:
    made: list[Session] = []

    async def work(session: Session) -> None:
        made.append(session)
        await session.bench.refresh(await session.bench.refresh(session.token))
        for _ in range(2):
            await session.expect_rejection(session.token)

    lines = on(work)
    (session,) = made
    assert events(database_url)[1:] == [
        ("refresh_token_reuse_detected", session.id, {"generations_behind": 2}),
        ("session_revoked", session.id, {"reason": "refresh_token_reuse"}),
    ]
    assert lines[1:] == [{"event": "refresh_token_reused", "session": str(session.id), "log_level": "warning"}]
    assert session.count("sessions_revoked", reason="refresh_token_reuse") == 1
    outcomes = {name: session.count("refreshes", outcome=name) for name in ("rotated", "reused", "revoked")}
    assert outcomes == {"rotated": 2, "reused": 1, "revoked": 1}
    assert revoked_until(database_url) == {session.bench.now + timedelta(seconds=REVOCATION_RETENTION_SECONDS)}


def test_a_token_of_a_lost_generation_is_an_alarm(on: Callable[..., list[Any]], database_url: str) -> None:
    made: list[Session] = []

    async def work(session: Session) -> None:
        made.append(session)
        tokens = [session.token]
        for _ in range(3):
            tokens.append(await session.bench.refresh(tokens[-1]))
        await session.execute("UPDATE sessions SET generation = 1")
        await session.expect_rejection(tokens[3])
        # A client that holds an older token continues with it.
        await session.bench.refresh(tokens[1])

    lines = on(work)
    (session,) = made
    assert events(database_url)[1:] == [("refresh_generation_ahead", session.id, {"generations_ahead": 2})]
    assert lines[1:] == [
        {
            "event": "refresh_token_generation_ahead",
            "session": str(session.id),
            "generations_ahead": 2,
            "hint": "was an older backup of the database restored?",
            "log_level": "error",
        }
    ]
    assert session.count("refreshes", outcome="generation_ahead") == 1


def test_revoked_sessions_are_recorded_and_counted_by_reason(on: Callable[..., list[Any]], database_url: str) -> None:
    made: list[Session] = []

    async def work(session: Session) -> None:
        made.extend([session, await session.log_in_again(), await session.log_in_again()])
        sessions, user_id = session.bench.sessions, session.account.id
        for is_live in (True, False):
            done = await sessions.revoke(session.id, user_id, RevocationReason.LOGOUT, CONTEXT)
            assert done is is_live
        for live in (1, 0):
            kept = made[2].id
            assert await sessions.revoke_all(user_id, RevocationReason.REVOKED_BY_USER, CONTEXT, kept) == live

    on(work)
    first, second, _ = made
    assert events(database_url)[3:] == [
        ("session_revoked", first.id, {"reason": "logout"}),
        ("session_revoked", second.id, {"reason": "revoked_by_user"}),
    ]
    assert first.count("sessions_revoked", reason="logout") == 1
    assert first.count("sessions_revoked", reason="revoked_by_user") == 1
    assert revoked_until(database_url) == {first.bench.now + timedelta(seconds=REVOCATION_RETENTION_SECONDS)}


def test_the_sessions_of_a_disabled_client_are_revoked_in_batches(
    on: Callable[..., list[Any]], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH", 2)
    other: list[Session] = []

    async def work(session: Session) -> None:
        other.append(session)
        await session.execute(PUBLIC_CLIENT)
        shop = LoginRequest(PublicClient("shop", ("gatepass",), frozenset({"profile"})))
        for _ in range(5):
            await session.bench.sessions.create(session.account, shop, CONTEXT)
        bench = session.bench
        await revoke_sessions_of_client(bench.database, "shop", bench.now, RevocationReason.CLIENT_DISABLED, CONTEXT)

    on(work)
    live = execute(database_url, "SELECT id FROM sessions WHERE ended_at IS NULL")
    assert [row["id"] for row in live] == [other[0].id]
    batches = execute(database_url, "SELECT count(DISTINCT xmin::text) FROM sessions WHERE ended_at IS NOT NULL")
    assert batches[0][0] == 3
    ended = [detail for kind, _, detail in events(database_url) if kind == "session_revoked"]
    assert ended == 5 * [{"reason": "client_disabled"}]
    assert revoked_until(database_url) == {other[0].bench.now + timedelta(seconds=REVOCATION_RETENTION_SECONDS)}


def test_a_login_beyond_the_limit_revokes_the_oldest_session(on: Callable[..., list[Any]], database_url: str) -> None:
    made: list[Session] = []

    async def work(session: Session) -> None:
        made.append(session)
        for _ in range(2):
            session.bench.now += timedelta(seconds=1)
            made.append(await session.log_in_again())

    on(work, per_account=2)
    assert ("session_revoked", made[0].id, {"reason": "session_limit"}) in events(database_url)
    live = {row["id"] for row in execute(database_url, "SELECT id FROM sessions WHERE ended_at IS NULL")}
    assert live == {session.id for session in made[1:]}
    assert made[0].count("sessions_revoked", reason="session_limit") == 1


def test_a_login_succeeds_though_the_limit_cannot_be_enforced(
    on: Callable[..., list[Any]], database_url: str
) -> None:
    made: list[Session] = []

    async def work(session: Session) -> None:
        made.append(session)
        async with session.bench.database.transaction() as blocker:
            # Longer than the statement that it holds up, on a busy machine too.
            await blocker.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await blocker.execute("LOCK TABLE revocations IN EXCLUSIVE MODE")
            made.append(await session.log_in_again())
        live = await session.bench.sessions.list_for_user(session.account.id, None, 10)
        assert {each.id for each in live} == {each.id for each in made}
        made.append(await session.log_in_again())

    lines = on(work, per_account=1)
    account = str(made[0].account.id)
    assert {"event": "session_limit_not_enforced", "account": account, "log_level": "warning"} in lines
    live = execute(database_url, "SELECT id FROM sessions WHERE ended_at IS NULL")
    assert [row["id"] for row in live] == [made[2].id]


def test_every_outcome_of_a_refresh_is_shown_from_the_start(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        labels = {
            sample.labels["outcome"]: sample.value
            for family in session.bench.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "gatepass_issuer_refreshes_total"
        }
        names = "rotated parallel retried reused generation_ahead retry_limit_exceeded expired revoked disabled"
        assert labels == dict.fromkeys([*names.split(), "invalid"], 0)

    on(work)


def test_an_unreadable_token_is_counted_as_invalid(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        await session.expect_rejection("not a token")
        assert session.count("refreshes", outcome="invalid") == 1

    on(work)


def test_the_lifetimes_of_tokens_are_those_of_the_session(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        bench = session.bench
        tokens = await bench.sessions.create(session.account, LOGIN, CONTEXT)
        assert tokens.session_expires_in == timedelta(days=14).total_seconds()
        bench.now += timedelta(days=14) - timedelta(milliseconds=1500)
        state = await bench.sessions.get(session.id)
        assert state is not None
        presented = bench.sessions.read_refresh_token(session.token)
        assert presented is not None
        assert bench.sessions.would_refresh(state, presented)
        await session.execute(f"UPDATE sessions SET expires_at = '{bench.now + timedelta(milliseconds=400)}'")
        again = await bench.sessions.refresh(tokens.refresh_token, RefreshRequest(), CONTEXT)
        assert again.session_expires_in == 1

    on(work)


def test_a_session_is_live_until_it_expires_or_its_account_is_disabled(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        sessions, begun, user_id = session.bench.sessions, session.bench.now, session.account.id
        session.bench.now = begun + timedelta(days=14) - timedelta(microseconds=1)
        await sessions.require_live(session.id, user_id)
        session.bench.now = begun + timedelta(days=14)
        with pytest.raises(InvalidTokenError):
            await sessions.require_live(session.id, user_id)
        session.bench.now = begun
        with pytest.raises(InvalidTokenError):
            await sessions.require_live(session.id, UUID(int=0))
        await session.execute("UPDATE users SET disabled_at = now()")
        with pytest.raises(InvalidTokenError):
            await sessions.require_live(session.id, user_id)

    on(work)


def test_sessions_of_one_moment_are_listed_once_each(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        made = {session.id} | {(await session.log_in_again()).id for _ in range(4)}
        after, sizes, listed = None, [], set()
        for _ in range(3):
            page = await session.bench.sessions.list_for_user(session.account.id, after, 2)
            after = Position(page[-1].created_at, page[-1].id)
            sizes.append(len(page))
            listed |= {each.id for each in page}
        assert (sizes, listed) == ([2, 2, 1], made)

    on(work)


def test_an_unknown_session_has_no_state(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        assert await session.bench.sessions.get(UUID(int=0)) is None

    on(work)


def test_an_access_token_expires_with_its_session(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        sessions = session.bench.sessions
        short = replace(sessions, limits=replace(sessions.limits, absolute=timedelta(seconds=100)))
        tokens = await short.create(session.account, LOGIN, CONTEXT)
        assert (tokens.expires_in, tokens.session_expires_in) == (100, 100)

    on(work)


def test_tokens_have_the_claims_of_the_client_and_first_of_the_account(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        bench = session.bench
        profile = TokenProfile(ISSUER, "gatepass", claim_types=ClaimTypes.parse("tenant:string, plan:string"))
        tokens = AccessTokens(bench.key_watcher, profile, bench.clock, uuid4, lambda: 0.0)
        sessions = replace(bench.sessions, access_tokens=tokens)
        await session.execute(PUBLIC_CLIENT)
        await session.execute("""UPDATE clients SET claims = '{"tenant": "shop", "plan": "large"}'""")
        await session.execute("""UPDATE users SET claims = '{"tenant": "acme"}'""")
        shop = PublicClient("shop", ("gatepass",), frozenset({"profile"}), 0, {"tenant": "shop", "plan": "large"})
        account = replace(session.account, claims={"tenant": "acme"})
        login = await sessions.create(account, LoginRequest(shop), CONTEXT)
        refreshed = await sessions.refresh(login.refresh_token, RefreshRequest(), CONTEXT)
        for claims in (claims_of(login.access_token), claims_of(refreshed.access_token)):
            assert (claims["tenant"], claims["plan"]) == ("acme", "large")

    on(work)


def test_failures_during_the_hash_delay_a_login_whose_success_clears_them(
    on: Callable[..., list[Any]], database_url: str
) -> None:
    async def work(session: Session) -> None:
        bench = session.bench
        restart = bench.now + timedelta(days=1)
        counters = [CounterIncrement(b"p" * 16, 3, restart), CounterIncrement(b"a" * 16, 50, restart)]
        for counter, count in zip(counters, (3, 5), strict=True):
            await session.execute(
                "INSERT INTO rate_limit_counters (key, count, last_at, expires_at)"
                f" VALUES ('{counter.key.decode()}', {count}, '{bench.now}', '{restart}')"
            )
        bench.now += timedelta(microseconds=999_999)
        with pytest.raises(TooManyAttemptsError) as rejected:
            await bench.sessions.create(session.account, LOGIN, CONTEXT, counters)
        assert rejected.value.retry_after == 1
        bench.now += timedelta(microseconds=1)
        await bench.sessions.create(session.account, LOGIN, CONTEXT, counters)

    on(work)
    counted = execute(database_url, "SELECT key, count FROM rate_limit_counters")
    assert [tuple(row) for row in counted] == [(b"a" * 16, 2)]


def test_a_login_gives_up_after_five_indices_that_are_taken(on: Callable[..., list[Any]]) -> None:
    async def work(session: Session) -> None:
        session.bench.sessions.status_lists.discard_leases()
        await session.execute("UPDATE status_lists SET next_idx = 0")
        await session.execute("""
            INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
              status_list_id, status_idx)
            SELECT gen_random_uuid(), user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
              status_list_id, 256 * n
            FROM sessions CROSS JOIN generate_series(1, 4) AS n
        """)
        with pytest.raises(DatabaseUnavailableError, match=r"^no free status index$"):
            await session.log_in_again()
        await session.log_in_again()

    lines = on(work)
    assert [line["event"] for line in lines].count("status_index_conflict") == 5


def test_waiting_for_the_database_does_not_turn_a_parallel_refresh_into_a_retry(
    on: Callable[..., list[Any]],
) -> None:
    async def work(session: Session) -> None:
        bench = session.bench
        async with bench.database.transaction() as first:
            await first.execute(
                "UPDATE sessions SET generation = 1, rotated_at = clock_timestamp() - interval '1.6 seconds'"
            )
            second = asyncio.create_task(bench.refresh(session.token))
            await wait_until_blocked(bench.database, second)
            # Until the first one is older than two seconds. A wait for a lock ends with an error after one second.
            await asyncio.sleep(0.6)
        await second
        assert session.count("refreshes", outcome="parallel") == 1

    on(work)
