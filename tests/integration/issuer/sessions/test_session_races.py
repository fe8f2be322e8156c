"""Races between use cases on a real PostgreSQL, in hundreds of rounds."""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from issuer.audit.events import RevocationReason
from issuer.errors import InvalidCredentialsError, InvalidGrantError
from issuer.sessions.authorization import RefreshRequest
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.models import StatusListEntry
from issuer.status_lists.store import StatusListStore
from issuer.tokens.models import FIRST_PARTY_CLIENT
from tests.support.postgres import execute
from tests.support.session_bench import CONTEXT, ISSUER, LOGIN, SessionBench, session_bench

ROUNDS = 200
LOGINS = 8
LIVE_AND_UNFLAGGED = """
SELECT s.id FROM sessions s
WHERE s.ended_at IS NULL
  OR NOT EXISTS (
    SELECT FROM revocations r WHERE r.status_list_id = s.status_list_id AND r.status_idx = s.status_idx
  )
"""


async def later(action: Awaitable[object]) -> None:
    """Run it at a random moment of the next two milliseconds; return None if it was rejected."""
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


def test_no_session_survives_a_parallel_disabling_or_new_password(database_url: str) -> None:
    async def rounds() -> None:
        async with session_bench(database_url, connections=16) as bench:
            for number in range(ROUNDS):
                await race(bench, disable=number % 2 == 0)

    asyncio.run(rounds())
    assert execute(database_url, LIVE_AND_UNFLAGGED) == []
    began = execute(database_url, "SELECT count(*) FROM sessions")[0][0]
    assert 2 * ROUNDS < began < (2 + LOGINS) * ROUNDS


def test_a_refresh_during_a_revocation_leaves_no_valid_token(database_url: str) -> None:
    """In either order the index is revoked and no refresh token of the session is valid."""

    async def rounds() -> set[bool]:
        refreshed = set()
        async with session_bench(database_url, connections=16) as bench:
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
        return refreshed

    assert asyncio.run(rounds()) == {True, False}
    assert execute(database_url, LIVE_AND_UNFLAGGED) == []


def test_parallel_reuse_revokes_a_session_once(database_url: str) -> None:
    async def thieves() -> None:
        async with session_bench(database_url, connections=16) as bench:
            old = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
            await bench.refresh(await bench.refresh(old))
            await asyncio.gather(*(later(bench.refresh(old)) for _ in range(30)))
            assert await bench.outcome("reused") == 1

    asyncio.run(thieves())
    rows = execute(database_url, "SELECT kind FROM audit_events WHERE kind <> 'account_registered'")
    kinds = [row["kind"] for row in rows]
    assert sorted(kinds) == ["login_succeeded", "refresh_token_reuse_detected", "session_ended"]


def test_parallel_revocations_of_all_sessions_never_deadlock(database_url: str) -> None:
    async def rounds() -> None:
        async with session_bench(database_url, connections=16) as bench:
            for _ in range(20):
                account = await bench.account()
                for _ in range(6):
                    await bench.sessions.create(account, LOGIN, CONTEXT)
                live = await bench.sessions.list_for_user(account.id, None, 100)
                ended = await asyncio.gather(
                    *(
                        bench.sessions.revoke_all(account.id, RevocationReason.REVOKED_BY_USER, CONTEXT)
                        for _ in range(4)
                    ),
                    *(
                        bench.sessions.revoke(each.id, account.id, RevocationReason.REVOKED_BY_USER, CONTEXT)
                        for each in live
                    ),
                )
                assert sum(ended) == 6

    asyncio.run(rounds())
    assert execute(database_url, "SELECT count(*) FROM audit_events WHERE kind = 'session_ended'")[0][0] == 120


def test_300_leases_at_once_over_several_issuers_never_collide(database_url: str) -> None:
    async def leases() -> list[StatusListEntry]:
        async with session_bench(database_url) as one, session_bench(database_url) as other:
            await one.lists.extend()
            firsts = await asyncio.gather(*((one, other)[n % 2].lists.lease(256) for n in range(300)))
            issuers = [
                StatusIndexAllocator(StatusListStore(bench.database), ISSUER) for bench in (one, other, one, other)
            ]
            singles = await asyncio.gather(*(issuer.lease() for issuer in issuers for _ in range(700)))
        ranges = [StatusListEntry(first.list_id, first.idx + n) for first in firsts if first for n in range(256)]
        return ranges + singles

    indices = asyncio.run(leases())
    assert len(indices) == 300 * 256 + 4 * 700
    assert len(set(indices)) == len(indices)


def test_a_full_list_is_followed_by_one_that_verifiers_already_know(database_url: str) -> None:
    async def fill() -> list[StatusListEntry | None]:
        async with session_bench(database_url, connections=16) as bench:
            await bench.lists.extend()
            execute_later = "UPDATE status_lists SET next_idx = size * 3 / 4 - 256"
            await asyncio.to_thread(execute, database_url, execute_later)
            early = await asyncio.gather(*(bench.lists.lease(256) for _ in range(20)))
            await asyncio.to_thread(execute, database_url, "UPDATE status_lists SET next_idx = size WHERE id = 1")
            none_yet = await bench.lists.lease(256)
            await asyncio.to_thread(
                execute, database_url, "UPDATE status_lists SET created_at = created_at - interval '61 seconds'"
            )
            return [*early, none_yet, await bench.lists.lease(256)]

    *early, none_yet, late = asyncio.run(fill())
    assert {lease.list_id for lease in early if lease} == {1}
    assert none_yet is None
    assert late is not None
    assert late.list_id > 1
    assert execute(database_url, "SELECT count(*) FROM status_lists")[0][0] == 2


def test_an_index_lease_repeated_by_a_restored_database_is_dropped(database_url: str) -> None:
    async def logins() -> None:
        async with session_bench(database_url) as bench:
            account = await bench.account()
            await bench.sessions.create(account, LOGIN, CONTEXT)
            await asyncio.to_thread(execute, database_url, "UPDATE status_lists SET next_idx = 0")
            async with session_bench(database_url) as other:
                for _ in range(3):
                    await other.sessions.create(account, LOGIN, CONTEXT)
                await bench.sessions.create(account, LOGIN, CONTEXT)

    with capture_logs() as lines:
        asyncio.run(logins())
    assert {line["log_level"] for line in lines if line["event"] == "status_index_conflict"} == {"error"}
    assert execute(database_url, "SELECT count(DISTINCT status_idx) FROM sessions")[0][0] == 5


def test_a_session_expires_when_idle_and_at_its_age_despite_parallel_use(database_url: str) -> None:
    async def years() -> None:
        async with session_bench(database_url) as bench:
            begun, idle, step = bench.now, timedelta(days=14), timedelta(days=9)
            kept = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
            left = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
            for _ in range(3):
                bench.now += step
                kept = await bench.refresh(kept)
            bench.now = begun + timedelta(days=30) - timedelta(microseconds=1)
            kept = await bench.refresh(kept)
            bench.now = begun + timedelta(days=30)
            with pytest.raises(InvalidGrantError):
                await bench.refresh(kept)
            bench.now = begun + idle
            with pytest.raises(InvalidGrantError):
                await bench.refresh(left)
            bench.now = begun + idle - timedelta(microseconds=1)
            await bench.refresh(left)

    asyncio.run(years())


def test_a_refresh_token_works_only_for_its_client(database_url: str) -> None:
    async def other_client() -> None:
        async with session_bench(database_url) as bench:
            token = (await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)).refresh_token
            with pytest.raises(InvalidGrantError):
                await bench.sessions.refresh(token, RefreshRequest("another-client"), CONTEXT)
            await bench.sessions.refresh(token, RefreshRequest(FIRST_PARTY_CLIENT), CONTEXT)

    asyncio.run(other_client())
