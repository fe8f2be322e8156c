"""Events of sessions are in the audit trail, the log and the metrics (real PostgreSQL)."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta
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
from tests.support.postgres import wait_until_blocked
from tests.support.session_bench import CONTEXT, ISSUER, LOGIN, SessionBench, session_bench
from tests.support.token_forge import claims_of

pytestmark = pytest.mark.anyio

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

    @classmethod
    async def of_new_account(cls, bench: SessionBench) -> "Session":
        account = await bench.account()
        tokens = await bench.sessions.create(account, LOGIN, CONTEXT)
        return cls(bench, account, tokens.refresh_token)

    async def expect_rejection(self, token: str) -> None:
        with pytest.raises(InvalidGrantError):
            await self.bench.refresh(token)

    async def log_in_again(self) -> "Session":
        tokens = await self.bench.sessions.create(self.account, LOGIN, CONTEXT)
        return Session(self.bench, self.account, tokens.refresh_token)

    def count(self, name: str, **labels: str) -> float:
        return self.bench.metrics.registry.get_sample_value(f"gatepass_issuer_{name}_total", labels) or 0

    @property
    def revocation_expires_at(self) -> datetime:
        """Return until when a revocation of this moment is published."""
        return self.bench.now + timedelta(seconds=REVOCATION_RETENTION_SECONDS)


@pytest.fixture
async def session(bench: SessionBench) -> Session:
    return await Session.of_new_account(bench)


async def events(bench: SessionBench) -> list[tuple[Any, ...]]:
    """Return the events of sessions; checks that each has its actor, IP address and request id."""
    rows = await bench.execute(
        "SELECT kind, session_id, user_id, client_id, detail::text, actor, host(address), request_id "
        "FROM audit_events WHERE kind <> 'account_registered' ORDER BY at, session_id, kind",
    )
    for row in rows:
        assert tuple(row)[5:] == WHO
        assert None not in {row["user_id"], row["client_id"]}
    return [(row["kind"], row["session_id"], json.loads(row["detail"])) for row in rows]


async def live_sessions(bench: SessionBench) -> set[UUID]:
    return {row["id"] for row in await bench.execute("SELECT id FROM sessions WHERE ended_at IS NULL")}


async def revoked_until(bench: SessionBench) -> set[datetime]:
    return {row["expires_at"] for row in await bench.execute("SELECT expires_at FROM revocations")}


async def test_a_login_is_recorded_logged_and_counted(bench: SessionBench) -> None:
    account = await bench.account()
    with capture_logs() as lines:
        tokens = await bench.sessions.create(account, LOGIN, CONTEXT)
    session = Session(bench, account, tokens.refresh_token)
    assert await events(bench) == [("login_succeeded", session.id, {})]
    assert lines == [
        {
            "event": "session_created",
            "account": str(account.id),
            "session": str(session.id),
            "log_level": "info",
        }
    ]
    assert session.count("sessions_created") == 1
    (row,) = await bench.execute("SELECT *, host(address) AS host FROM sessions")
    assert (row["host"], row["user_agent"]) == (CONTEXT.ip_address, CONTEXT.user_agent)
    assert (row["created_at"], row["idle_expires_at"], row["expires_at"]) == (
        bench.now,
        bench.now + timedelta(days=14),
        bench.now + timedelta(days=30),
    )


async def test_a_reused_token_is_recorded_logged_and_counted(bench: SessionBench, session: Session) -> None:
    with capture_logs() as lines:
        await bench.refresh(await bench.refresh(session.token))
        for _ in range(2):
            await session.expect_rejection(session.token)
    assert (await events(bench))[1:] == [
        ("refresh_token_reuse_detected", session.id, {"generations_behind": 2}),
        ("session_revoked", session.id, {"reason": "refresh_token_reuse"}),
    ]
    assert lines == [{"event": "refresh_token_reused", "session": str(session.id), "log_level": "warning"}]
    assert session.count("sessions_revoked", reason="refresh_token_reuse") == 1
    outcomes = {name: session.count("refreshes", outcome=name) for name in ("rotated", "reused", "revoked")}
    assert outcomes == {"rotated": 2, "reused": 1, "revoked": 1}
    assert await revoked_until(bench) == {session.revocation_expires_at}


async def test_a_token_of_a_lost_generation_is_an_alarm(bench: SessionBench, session: Session) -> None:
    tokens = [session.token]
    with capture_logs() as lines:
        for _ in range(3):
            tokens.append(await bench.refresh(tokens[-1]))
        await bench.execute("UPDATE sessions SET generation = 1")
        await session.expect_rejection(tokens[3])
        # A client that holds an older token continues with it.
        await bench.refresh(tokens[1])
    assert (await events(bench))[1:] == [("refresh_generation_ahead", session.id, {"generations_ahead": 2})]
    assert lines == [
        {
            "event": "refresh_token_generation_ahead",
            "session": str(session.id),
            "generations_ahead": 2,
            "hint": "was an older backup of the database restored?",
            "log_level": "error",
        }
    ]
    assert session.count("refreshes", outcome="generation_ahead") == 1


async def test_revoked_sessions_are_recorded_and_counted_by_reason(bench: SessionBench, session: Session) -> None:
    second, kept = await session.log_in_again(), await session.log_in_again()
    sessions, user_id = bench.sessions, session.account.id
    for is_live in (True, False):
        assert await sessions.revoke(session.id, user_id, RevocationReason.LOGOUT, CONTEXT) is is_live
    for live in (1, 0):
        assert await sessions.revoke_all(user_id, RevocationReason.REVOKED_BY_USER, CONTEXT, kept.id) == live
    assert (await events(bench))[3:] == [
        ("session_revoked", session.id, {"reason": "logout"}),
        ("session_revoked", second.id, {"reason": "revoked_by_user"}),
    ]
    assert session.count("sessions_revoked", reason="logout") == 1
    assert session.count("sessions_revoked", reason="revoked_by_user") == 1
    assert await revoked_until(bench) == {session.revocation_expires_at}


async def test_the_sessions_of_a_disabled_client_are_revoked_in_batches(
    bench: SessionBench, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH", 2)
    await bench.execute(PUBLIC_CLIENT)
    shop = LoginRequest(PublicClient("shop", ("gatepass",), frozenset({"profile"})))
    for _ in range(5):
        await bench.sessions.create(session.account, shop, CONTEXT)
    await revoke_sessions_of_client(bench.database, "shop", bench.now, RevocationReason.CLIENT_DISABLED, CONTEXT)
    assert await live_sessions(bench) == {session.id}
    batches = await bench.execute("SELECT count(DISTINCT xmin::text) FROM sessions WHERE ended_at IS NOT NULL")
    assert batches[0][0] == 3
    ended = [detail for kind, _, detail in await events(bench) if kind == "session_revoked"]
    assert ended == 5 * [{"reason": "client_disabled"}]
    assert await revoked_until(bench) == {session.revocation_expires_at}


async def test_a_login_beyond_the_limit_revokes_the_oldest_session(database_url: str) -> None:
    async with session_bench(database_url, per_account=2) as bench:
        oldest = await Session.of_new_account(bench)
        newer = []
        for _ in range(2):
            bench.now += timedelta(seconds=1)
            newer.append(await oldest.log_in_again())
        assert ("session_revoked", oldest.id, {"reason": "session_limit"}) in await events(bench)
        assert await live_sessions(bench) == {session.id for session in newer}
        assert oldest.count("sessions_revoked", reason="session_limit") == 1


async def test_a_login_succeeds_though_the_limit_cannot_be_enforced(database_url: str) -> None:
    async with session_bench(database_url, per_account=1) as bench:
        first = await Session.of_new_account(bench)
        with capture_logs() as lines:
            async with bench.database.transaction() as blocker:
                # Longer than the statement that it holds up, on a busy machine too.
                await blocker.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                await blocker.execute("LOCK TABLE revocations IN EXCLUSIVE MODE")
                second = await first.log_in_again()
        account = first.account.id
        assert {"event": "session_limit_not_enforced", "account": str(account), "log_level": "warning"} in lines
        listed = await bench.sessions.list_for_user(account, None, 10)
        assert {each.id for each in listed} == {first.id, second.id}
        third = await first.log_in_again()
        assert await live_sessions(bench) == {third.id}


async def test_every_outcome_of_a_refresh_is_shown_from_the_start(bench: SessionBench) -> None:
    labels = {
        sample.labels["outcome"]: sample.value
        for family in bench.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "gatepass_issuer_refreshes_total"
    }
    names = "rotated parallel retried reused generation_ahead retry_limit_exceeded expired revoked disabled"
    assert labels == dict.fromkeys([*names.split(), "invalid"], 0)


async def test_an_unreadable_token_is_counted_as_invalid(session: Session) -> None:
    await session.expect_rejection("not a token")
    assert session.count("refreshes", outcome="invalid") == 1


async def test_the_lifetimes_of_tokens_are_those_of_the_session(bench: SessionBench, session: Session) -> None:
    tokens = await bench.sessions.create(session.account, LOGIN, CONTEXT)
    assert tokens.session_expires_in == timedelta(days=14).total_seconds()
    bench.now += timedelta(days=14) - timedelta(milliseconds=1500)
    state = await bench.sessions.get(session.id)
    assert state is not None
    presented = bench.sessions.read_refresh_token(session.token)
    assert presented is not None
    assert bench.sessions.would_refresh(state, presented)
    await bench.execute("UPDATE sessions SET expires_at = $1", bench.now + timedelta(milliseconds=400))
    again = await bench.sessions.refresh(tokens.refresh_token, RefreshRequest(), CONTEXT)
    assert again.session_expires_in == 1


async def test_a_session_is_live_until_it_expires_or_its_account_is_disabled(
    bench: SessionBench, session: Session
) -> None:
    started_at, user_id = bench.now, session.account.id
    bench.now = started_at + timedelta(days=14) - timedelta(microseconds=1)
    await bench.sessions.require_live(session.id, user_id)
    bench.now = started_at + timedelta(days=14)
    with pytest.raises(InvalidTokenError):
        await bench.sessions.require_live(session.id, user_id)
    bench.now = started_at
    with pytest.raises(InvalidTokenError):
        await bench.sessions.require_live(session.id, UUID(int=0))
    await bench.execute("UPDATE users SET disabled_at = now()")
    with pytest.raises(InvalidTokenError):
        await bench.sessions.require_live(session.id, user_id)


async def test_sessions_of_one_moment_are_listed_once_each(bench: SessionBench, session: Session) -> None:
    made = {session.id} | {(await session.log_in_again()).id for _ in range(4)}
    after, sizes, listed = None, [], set()
    for _ in range(3):
        page = await bench.sessions.list_for_user(session.account.id, after, 2)
        after = Position(page[-1].created_at, page[-1].id)
        sizes.append(len(page))
        listed |= {each.id for each in page}
    assert (sizes, listed) == ([2, 2, 1], made)


async def test_an_unknown_session_has_no_state(bench: SessionBench) -> None:
    assert await bench.sessions.get(UUID(int=0)) is None


async def test_an_access_token_expires_with_its_session(bench: SessionBench) -> None:
    sessions = bench.sessions
    short = replace(sessions, limits=replace(sessions.limits, absolute=timedelta(seconds=100)))
    tokens = await short.create(await bench.account(), LOGIN, CONTEXT)
    assert (tokens.expires_in, tokens.session_expires_in) == (100, 100)


async def test_tokens_have_the_claims_of_the_client_and_first_of_the_account(
    bench: SessionBench, session: Session
) -> None:
    profile = TokenProfile(ISSUER, "gatepass", claim_types=ClaimTypes.parse("tenant:string, plan:string"))
    tokens = AccessTokens(bench.key_watcher, profile, bench.clock, uuid4, lambda: 0.0)
    sessions = replace(bench.sessions, access_tokens=tokens)
    await bench.execute(PUBLIC_CLIENT)
    await bench.execute("""UPDATE clients SET claims = '{"tenant": "shop", "plan": "large"}'""")
    await bench.execute("""UPDATE users SET claims = '{"tenant": "acme"}'""")
    shop = PublicClient("shop", ("gatepass",), frozenset({"profile"}), 0, {"tenant": "shop", "plan": "large"})
    account = replace(session.account, claims={"tenant": "acme"})
    login = await sessions.create(account, LoginRequest(shop), CONTEXT)
    refreshed = await sessions.refresh(login.refresh_token, RefreshRequest(), CONTEXT)
    for claims in (claims_of(login.access_token), claims_of(refreshed.access_token)):
        assert (claims["tenant"], claims["plan"]) == ("acme", "large")


async def test_failures_during_the_hash_delay_a_login_whose_success_clears_them(bench: SessionBench) -> None:
    account, restart = await bench.account(), bench.now + timedelta(days=1)
    counters = [CounterIncrement(b"p" * 16, 3, restart), CounterIncrement(b"a" * 16, 50, restart)]
    for counter, count in zip(counters, (3, 5), strict=True):
        await bench.execute(
            "INSERT INTO rate_limit_counters (key, count, last_at, expires_at) VALUES ($1, $2, $3, $4)",
            counter.key,
            count,
            bench.now,
            restart,
        )
    bench.now += timedelta(microseconds=999_999)
    with pytest.raises(TooManyAttemptsError) as rejected:
        await bench.sessions.create(account, LOGIN, CONTEXT, counters)
    assert rejected.value.retry_after == 1
    bench.now += timedelta(microseconds=1)
    await bench.sessions.create(account, LOGIN, CONTEXT, counters)
    counted = await bench.execute("SELECT key, count FROM rate_limit_counters")
    assert [tuple(row) for row in counted] == [(b"a" * 16, 2)]


async def test_a_login_gives_up_after_five_indices_that_are_taken(bench: SessionBench, session: Session) -> None:
    bench.sessions.status_lists.discard_leases()
    await bench.execute("UPDATE status_lists SET next_idx = 0")
    await bench.execute("""
        INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
          status_list_id, status_idx)
        SELECT gen_random_uuid(), user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
          status_list_id, 256 * n
        FROM sessions CROSS JOIN generate_series(1, 4) AS n
    """)
    with capture_logs() as lines:
        with pytest.raises(DatabaseUnavailableError, match=r"^no free status index$"):
            await session.log_in_again()
        await session.log_in_again()
    assert [line["event"] for line in lines].count("status_index_conflict") == 5


async def test_waiting_for_the_database_does_not_turn_a_parallel_refresh_into_a_retry(
    bench: SessionBench, session: Session
) -> None:
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
