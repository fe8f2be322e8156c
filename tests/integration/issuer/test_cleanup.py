"""Expired rows are deleted in small batches, while users register and log in."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from issuer.cleanup import BATCH, Cleanup
from issuer.db.pool import Database
from issuer.telemetry.metrics import Metrics
from tests.support.accounts import add_account, add_sessions
from tests.support.issuer_process import IssuerProcess, issuer_command
from tests.support.postgres import Postgres, execute, with_database

T = TypeVar("T")

ADD_OF_EVERYTHING = """
WITH given(at) AS (VALUES (now() - $2::text::interval)),
a AS (INSERT INTO revocations (status_list_id, status_idx, expires_at) SELECT 1, $3::int, at FROM given),
b AS (INSERT INTO one_time_tokens SELECT sha256($4), $1, 'p' || $3::int, at, at FROM given),
c AS (INSERT INTO client_assertions SELECT 'machine', sha256($4), at FROM given),
m AS (INSERT INTO mail_limits SELECT substr(sha256($4), 1, 16), 1, at, at FROM given),
d AS (INSERT INTO rate_limit_counters SELECT substr(sha256($4), 1, 16), 1, at, at FROM given)
INSERT INTO outbox (user_id, template, created_at, next_attempt_at)
SELECT $1, 't', at - interval '7 days', at FROM given
"""


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.migrated_database()


@pytest.fixture(autouse=True)
def empty(url: str) -> None:
    execute(url, "TRUNCATE users, clients, revocations, rate_limit_counters, mail_limits CASCADE")


def clean_up(url: str, use: Callable[[Cleanup], Awaitable[T]], now: datetime | None = None) -> T:
    def cleanup(database: Database) -> Cleanup:
        return Cleanup(database, Metrics(), lambda: now or datetime.now(UTC), asyncio.sleep, lambda: 0.5)

    return with_database(url, lambda database: use(cleanup(database)), connections=2)


def add_of_everything(url: str, expired_for: str) -> None:
    """Add an expired session, a revoked one, and an expired row of every other table."""
    account = add_account(url)
    number = execute(url, "SELECT count(*)::int FROM users")[0][0]
    execute(
        url,
        "INSERT INTO clients (id, name, auth_method, secret_hash, audiences, created_at)"
        " VALUES ('machine', 'm', 'client_secret_basic', sha256(''), '{}', now()) ON CONFLICT DO NOTHING",
    )
    execute(url, ADD_OF_EVERYTHING, account, expired_for, number, str(number).encode())
    add_sessions(url, account, 1, expired=expired_for)
    add_sessions(url, account, 1, expired="-30 days", ended=f"1 day {expired_for}")


def test_expired_rows_of_every_kind_are_removed_and_others_stay(url: str) -> None:
    add_of_everything(url, expired_for="2 hours")
    add_of_everything(url, expired_for="-1 minute")
    removed = clean_up(url, lambda use: use.once())
    assert set(removed.values()) == {1}
    assert set(clean_up(url, lambda use: use.once()).values()) == {0}
    later = datetime.now(UTC) + timedelta(hours=2)
    assert set(clean_up(url, lambda use: use.once(), later).values()) == {1}


def test_no_row_is_removed_before_its_last_token_has_expired(url: str) -> None:
    add_of_everything(url, expired_for="61 minutes")
    assert set(clean_up(url, lambda use: use.once()).values()) == {0}


@pytest.mark.parametrize(
    ("held", "removed"),
    [("SELECT FROM sessions LIMIT 1 FOR UPDATE", 2), ("SELECT pg_advisory_xact_lock(1734439782)", 0)],
    ids=["a locked row is skipped", "one process cleans up at a time"],
)
def test_a_cleanup_waits_for_no_other_transaction(url: str, held: str, removed: int) -> None:
    add_sessions(url, add_account(url), 3, expired="1 day")

    async def clean_meanwhile(use: Cleanup) -> dict[str, int]:
        database = Database(url, 1)
        async with database.transaction() as connection:
            await connection.execute(held)
            counted = await use.once()
        await database.close()
        return counted

    assert clean_up(url, clean_meanwhile).get("expired-sessions", 0) == removed
    assert clean_up(url, lambda use: use.once())["expired-sessions"] == 3 - removed


def test_thousands_of_rows_are_removed_during_registrations_and_logins(issuer: IssuerProcess) -> None:
    issuer.register("ann@example.com")
    add_sessions(issuer.database_url, add_account(issuer.database_url), 10 * BATCH, expired="1 day")
    with ThreadPoolExecutor(4) as pool:
        cleaned = pool.submit(issuer_command, "cleanup", DATABASE_URL=issuer.database_url)
        responses = [pool.submit(issuer.login, "ann@example.com") for _ in range(20)]
        responses += [pool.submit(issuer.register, f"n{number}@example.com") for number in range(5)]
        rejected = [
            response.result().text for response in responses if response.result().status_code not in {200, 201}
        ]
    assert rejected == []
    assert f"expired-sessions  {10 * BATCH}\n" in cleaned.result().stdout
    assert execute(issuer.database_url, "SELECT count(*) FROM sessions WHERE expires_at < now()")[0][0] == 0


def test_cleanup_repeats_at_varying_intervals(url: str) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    async def run() -> None:
        database = Database(url, 1)
        fractions = iter([0.0, 0.5, 0.999])
        cleanup = Cleanup(database, Metrics(), lambda: datetime.now(UTC), pause, lambda: next(fractions))
        with pytest.raises(asyncio.CancelledError):
            await cleanup.run()
        await database.close()

    asyncio.run(run())
    assert [round(seconds) for seconds in pauses] == [30, 60, 90]
