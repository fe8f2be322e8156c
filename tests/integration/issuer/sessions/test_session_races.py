"""Races between use cases on a real PostgreSQL: repeated many times, or in one order that locks enforce."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from issuer.accounts.administration_store import AdministrationStore
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.audit.events import RevocationReason
from issuer.errors import InvalidClientError, InvalidCredentialsError, InvalidGrantError
from issuer.oauth.registry import ClientRegistry
from issuer.oauth.store import ClientStore
from issuer.sessions.authorization import LoginRequest
from issuer.sessions.models import MAX_RETRIES
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.models import StatusListEntry
from issuer.tokens.size import TokenBudget
from tests.support.postgres import LOCK_AUDIT_TRAIL, wait_until_blocked
from tests.support.session_bench import CONTEXT, ISSUER, LOGIN, SessionBench, session_bench
from tests.support.token_forge import claims_of

pytestmark = pytest.mark.anyio

ROUNDS = 200
LOGINS = 8
LIVE_AND_UNFLAGGED = """
SELECT s.id FROM sessions s
WHERE s.ended_at IS NULL
  OR NOT EXISTS (
    SELECT FROM revocations r WHERE r.status_list_id = s.status_list_id AND r.status_idx = s.status_idx
  )
"""

LOCK_ACCOUNT = "SELECT FROM users WHERE id = $1 FOR UPDATE"


async def later(action: Awaitable[object]) -> None:
    """Await `action` at a random moment of the next two milliseconds; return None if it was rejected."""
    await asyncio.sleep(random.random() / 500)
    with suppress(InvalidCredentialsError, InvalidGrantError):
        await action


async def race(bench: SessionBench, *, disable: bool) -> None:
    account = await bench.account()
    first = [await bench.sessions.create(account, LOGIN, CONTEXT) for _ in range(2)]
    await asyncio.gather(
        *(later(bench.sessions.create(account, LOGIN, CONTEXT)) for _ in range(LOGINS)),
        *(later(bench.refresh(tokens.refresh_token)) for tokens in first),
        later(bench.change(account.id, disable=disable)),
    )


async def test_no_session_survives_a_parallel_disabling_or_new_password(bench: SessionBench) -> None:
    for number in range(ROUNDS):
        await race(bench, disable=number % 2 == 0)
    assert await bench.execute(LIVE_AND_UNFLAGGED) == []
    began = (await bench.execute("SELECT count(*) FROM sessions"))[0][0]
    assert 2 * ROUNDS < began < (2 + LOGINS) * ROUNDS


OTHER_HASH = "another hash, also long enough"
ENDINGS: dict[str, Callable[[SessionBench, UUID], Awaitable[object]]] = {
    "revoke all": lambda bench, account: bench.sessions.revoke_all(account, RevocationReason.LOGOUT, CONTEXT),
    "disable": lambda bench, account: AdministrationStore(bench.database).disable_account(account, bench.now),
    "end sessions": lambda bench, account: AdministrationStore(bench.database).revoke_sessions(account, bench.now),
    "delete": lambda bench, account: AdministrationStore(bench.database).delete_account(account, bench.now),
    "delete own account": lambda bench, account: SelfServiceStore(bench.database, None).delete_account(
        account, 0, bench.now, CONTEXT
    ),
    "change password": lambda bench, account: SelfServiceStore(bench.database, None).change_password(
        account, 0, OTHER_HASH, uuid4(), bench.now, CONTEXT
    ),
    "set password": lambda bench, account: AdministrationStore(bench.database).set_password(
        account, OTHER_HASH, bench.now, None
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_revoking_all_sessions_revokes_that_of_a_login_in_progress(bench: SessionBench, ending: str) -> None:
    """The login has inserted its session and waits to record its event."""
    account = await bench.account()
    earlier = await bench.sessions.create(account, LOGIN, CONTEXT)
    async with bench.database.transaction() as connection:
        await connection.execute(LOCK_AUDIT_TRAIL)
        login = asyncio.create_task(bench.sessions.create(account, LOGIN, CONTEXT))
        await wait_until_blocked(bench.database, login)
        end = asyncio.ensure_future(ENDINGS[ending](bench, account.id))
        await wait_until_blocked(bench.database, login, end)
    tokens = [earlier, await login]
    await end
    issued = {claims_of(each.access_token)["status"]["status_list"]["idx"] for each in tokens}
    assert {row["status_idx"] for row in await bench.execute("SELECT status_idx FROM revocations")} == issued
    assert await bench.execute("SELECT FROM sessions WHERE ended_at IS NULL") == []


@pytest.mark.parametrize("ending", [name for name in ENDINGS if name != "revoke all"])
async def test_a_login_that_checked_the_password_before_a_change_fails_after_it(
    bench: SessionBench, ending: str
) -> None:
    account = await bench.account()
    await ENDINGS[ending](bench, account.id)
    with pytest.raises(InvalidCredentialsError):
        await bench.sessions.create(account, LOGIN, CONTEXT)
    assert await bench.execute("SELECT FROM sessions") == []


def registry_of(bench: SessionBench) -> ClientRegistry:
    return ClientRegistry(TokenBudget(ISSUER, "a"), ClientStore(bench.database), bench.clock, random.randbytes)


async def test_disabling_a_client_revokes_the_session_of_a_login_in_progress(bench: SessionBench) -> None:
    """The login has checked the client, and waits for a change of its account."""
    registry = registry_of(bench)
    shop = await registry.create("x", "shop", "profile", ["a"], None, public=True)
    account = await bench.account()
    async with bench.database.transaction() as connection:
        await connection.execute(LOCK_ACCOUNT, account.id)
        request = LoginRequest(shop.client.as_public())
        login = asyncio.create_task(bench.sessions.create(account, request, CONTEXT))
        await wait_until_blocked(bench.database, login)
        disabling = asyncio.create_task(registry.disable("shop"))
        await wait_until_blocked(bench.database, login, disabling)
    await asyncio.gather(login, disabling)
    assert (await bench.execute("SELECT end_reason FROM sessions"))[0][0] == "client_disabled"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("users SET disabled_at = now()", InvalidCredentialsError),
        ("users SET security_version = security_version + 1", InvalidCredentialsError),
        ("clients SET disabled_at = now()", InvalidClientError),
        ("clients SET security_version = security_version + 1", InvalidClientError),
    ],
)
async def test_a_login_fails_if_its_account_or_client_has_changed_meanwhile(
    bench: SessionBench, change: str, error: type[Exception]
) -> None:
    shop = await registry_of(bench).create("x", "shop", "profile", ["a"], None, public=True)
    account = await bench.account()
    await bench.execute(f"UPDATE {change}")
    with pytest.raises(error):
        await bench.sessions.create(account, LoginRequest(shop.client.as_public()), CONTEXT)
    assert await bench.execute("SELECT FROM sessions") == []


async def test_a_retry_counts_by_the_clock_of_the_database(bench: SessionBench) -> None:
    """The clocks of issuers differ, and the retry may reach another issuer."""
    bench.now -= timedelta(minutes=5)
    lost = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
    assert await bench.refresh(lost) == await bench.refresh(lost)


@pytest.mark.parametrize("event", ["log out", "use the successor", "use up the retries", "expire"])
async def test_a_retry_that_was_overtaken_gets_no_tokens(bench: SessionBench, event: str) -> None:
    """The row has changed after it was read, so the retry is decided again."""
    account = await bench.account()
    lost = (await bench.sessions.create(account, LOGIN, CONTEXT)).refresh_token
    successor = await bench.refresh(lost)
    presented = bench.sessions.read_refresh_token(lost)
    assert presented is not None
    assert await bench.rows.count_retry(presented, bench.now)
    match event:
        case "log out":
            await bench.sessions.revoke(presented.session_id, account.id, RevocationReason.LOGOUT, CONTEXT)
        case "use the successor":
            await bench.refresh(successor)
        case "use up the retries":
            for _ in range(MAX_RETRIES - 1):
                assert await bench.rows.count_retry(presented, bench.now)
        case _:
            bench.now += timedelta(days=14)
    assert not await bench.rows.count_retry(presented, bench.now)


async def test_a_refresh_during_a_revocation_leaves_no_valid_token(bench: SessionBench) -> None:
    """In either order the index is revoked and no refresh token of the session is valid."""
    refreshed = set()
    for _ in range(ROUNDS):
        account = await bench.account()
        tokens = [(await bench.sessions.create(account, LOGIN, CONTEXT)).refresh_token]
        session = bench.sessions.read_refresh_token(tokens[0])
        assert session is not None

        async def refresh(known: list[str] = tokens) -> None:
            known.append(await bench.refresh(known[0]))

        await asyncio.gather(
            later(refresh()),
            later(bench.sessions.revoke(session.session_id, account.id, RevocationReason.LOGOUT, CONTEXT)),
        )
        refreshed.add(len(tokens) == 2)
        for token in tokens:
            with pytest.raises(InvalidGrantError):
                await bench.refresh(token)
    assert refreshed == {True, False}
    assert await bench.execute(LIVE_AND_UNFLAGGED) == []


async def test_parallel_reuse_revokes_a_session_once(bench: SessionBench) -> None:
    old = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
    await bench.refresh(await bench.refresh(old))
    await asyncio.gather(*(later(bench.refresh(old)) for _ in range(30)))
    assert await bench.outcome("reused") == 1
    rows = await bench.execute("SELECT kind FROM audit_events WHERE kind <> 'account_registered'")
    kinds = [row["kind"] for row in rows]
    assert sorted(kinds) == ["login_succeeded", "refresh_token_reuse_detected", "session_revoked"]


async def test_parallel_revocations_of_all_sessions_never_deadlock(bench: SessionBench) -> None:
    for _ in range(20):
        account = await bench.account()
        for _ in range(6):
            await bench.sessions.create(account, LOGIN, CONTEXT)
        live = await bench.sessions.list_for_user(account.id, None, 100)
        reason = RevocationReason.REVOKED_BY_USER
        ended = await asyncio.gather(
            *(bench.sessions.revoke_all(account.id, reason, CONTEXT) for _ in range(4)),
            *(bench.sessions.revoke(each.id, account.id, reason, CONTEXT) for each in live),
        )
        assert sum(ended) == 6
    revoked = await bench.execute("SELECT count(*) FROM audit_events WHERE kind = 'session_revoked'")
    assert revoked[0][0] == 120


async def test_300_leases_at_once_over_several_issuers_never_collide(database_url: str) -> None:
    async with session_bench(database_url) as one, session_bench(database_url) as other:
        await one.lists.extend()
        firsts = await asyncio.gather(*((one, other)[n % 2].lists.lease(256) for n in range(300)))
        issuers = [StatusIndexAllocator(each.lists, ISSUER, each.published) for each in (one, other, one, other)]
        singles = await asyncio.gather(*(issuer.lease() for issuer in issuers for _ in range(700)))
    ranges = [StatusListEntry(first.list_id, first.idx + n) for first in firsts if first for n in range(256)]
    indices = ranges + singles
    assert len(indices) == 300 * 256 + 4 * 700
    assert len(set(indices)) == len(indices)


async def test_a_full_list_is_followed_by_one_that_verifiers_have_fetched(bench: SessionBench) -> None:
    await bench.lists.extend()
    await bench.execute("UPDATE status_lists SET next_idx = size * 3 / 4 - 256")
    early = await asyncio.gather(*(bench.lists.lease(256) for _ in range(20)))
    assert {lease.list_id for lease in early if lease} == {1}
    await bench.execute("UPDATE status_lists SET next_idx = size WHERE id = 1")
    assert await bench.lists.lease(256) is None
    await bench.execute("UPDATE status_lists SET created_at = created_at - interval '61 seconds'")
    late = await bench.lists.lease(256)
    assert late is not None
    assert late.list_id > 1
    assert (await bench.execute("SELECT count(*) FROM status_lists"))[0][0] == 2


async def test_an_index_lease_repeated_by_a_restored_database_is_dropped(
    bench: SessionBench, database_url: str
) -> None:
    account = await bench.account()
    with capture_logs() as lines:
        await bench.sessions.create(account, LOGIN, CONTEXT)
        await bench.execute("UPDATE status_lists SET next_idx = 0")
        async with session_bench(database_url) as other:
            for _ in range(3):
                await other.sessions.create(account, LOGIN, CONTEXT)
            await bench.sessions.create(account, LOGIN, CONTEXT)
    assert {line["log_level"] for line in lines if line["event"] == "status_index_conflict"} == {"error"}
    assert (await bench.execute("SELECT count(DISTINCT status_idx) FROM sessions"))[0][0] == 5


async def test_a_session_expires_when_idle_and_at_its_age_despite_parallel_use(bench: SessionBench) -> None:
    started_at, idle, step = bench.now, timedelta(days=14), timedelta(days=9)
    kept = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
    left = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
    for _ in range(3):
        bench.now += step
        kept = await bench.refresh(kept)
    bench.now = started_at + timedelta(days=30) - timedelta(microseconds=1)
    kept = await bench.refresh(kept)
    bench.now = started_at + timedelta(days=30)
    with pytest.raises(InvalidGrantError):
        await bench.refresh(kept)
    bench.now = started_at + idle
    with pytest.raises(InvalidGrantError):
        await bench.refresh(left)
    assert await bench.outcome("expired") == 2
    bench.now = started_at + idle - timedelta(microseconds=1)
    await bench.refresh(left)
