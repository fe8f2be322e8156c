"""The connection pool on a real PostgreSQL: the order of service, and the handling of every error."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import asyncpg  # noqa: TID251 - the errors of PostgreSQL
import pytest
from structlog.testing import capture_logs

from issuer.db.pool import Database
from issuer.errors import DatabaseUnavailableError, UnexpectedDatabaseError
from issuer.telemetry.metrics import Metrics
from tests.support.issuer_process import IssuerProcess, issuer_command
from tests.support.postgres import execute, opened
from tests.support.processes import free_port

pytestmark = pytest.mark.anyio

SECRET_VALUE = "hunter2@example.com"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Yield a pool of one connection."""
    async with opened(database_url) as database:
        yield database


async def test_requests_are_served_in_the_order_of_their_arrival(database_url: str) -> None:
    served: list[int] = []
    arrived = 0

    async def work() -> None:
        nonlocal arrived
        for _ in range(20):
            number = arrived = arrived + 1
            async with pool.connection() as connection:
                served.append(number)
                await connection.execute("SELECT 1")

    async with opened(database_url, connections=4) as pool:
        async with AsyncExitStack() as all_connections:
            for _ in range(4):
                await all_connections.enter_async_context(pool.connection())
        # Each wants a connection again as soon as it gave one back: before the one that waits for it is woken.
        await asyncio.gather(*[work() for _ in range(16)])
    assert served == list(range(1, arrived + 1))


async def test_a_cancelled_request_takes_no_connection_with_it(database: Database) -> None:
    for _ in range(20):
        async with database.connection():
            waiting = [asyncio.create_task(database.ping()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[1].cancel()
        waiting[0].cancel()  # it may have been given the connection by now
        for task in waiting:
            with suppress(asyncio.CancelledError):
                await task


async def test_requests_beyond_the_queue_are_rejected_at_once(database: Database) -> None:
    async with database.connection():
        waiting = [asyncio.create_task(database.ping()) for _ in range(100)]
        await asyncio.sleep(0)
        with pytest.raises(DatabaseUnavailableError, match="QueueFullError"):
            await database.ping()
    await asyncio.gather(*waiting)


def sqlstates() -> list[str]:
    """Return every SQLSTATE of an error that asyncpg knows, without those of success, warnings and no data."""
    kinds = [getattr(asyncpg, name) for name in asyncpg.exceptions.__all__]
    known = {kind.sqlstate for kind in kinds if issubclass(kind, asyncpg.PostgresError) and kind.sqlstate}
    return sorted(state for state in known if state[:2] not in {"00", "01", "02"})


async def test_every_sqlstate_is_an_outage_or_a_logged_error(database_url: str) -> None:
    metrics, passing, faults = Metrics(), set(), set()
    with capture_logs() as logs:
        async with opened(database_url, metrics=metrics) as database:
            for sqlstate in sqlstates():
                raising = f"DO $$ BEGIN RAISE 'for {SECRET_VALUE}' USING ERRCODE='{sqlstate}'; END $$"
                try:
                    async with database.connection() as connection:
                        await connection.execute(raising)
                except DatabaseUnavailableError:
                    passing.add(sqlstate)
                except UnexpectedDatabaseError:
                    faults.add(sqlstate)
    assert passing | faults == set(sqlstates())
    assert {state[:2] for state in passing} == {"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58"}
    assert {"23505", "22P02", "XX000", "XX001", "42601", "0A000"} <= faults
    logged = [line["sqlstate"] for line in logs if line["event"] == "unexpected_database_error"]
    assert sorted(logged) == sorted(faults)
    assert all(line["log_level"] == "error" and line["frames"] for line in logs if "sqlstate" in line)
    assert SECRET_VALUE not in str(logs)
    shown = metrics.exposition().decode()
    assert f'gatepass_issuer_database_failures_total{{failure="unexpected"}} {float(len(faults))}' in shown


async def test_an_argument_of_the_wrong_type_is_an_error(database: Database) -> None:
    with capture_logs() as logs, pytest.raises(UnexpectedDatabaseError, match=r"database t_\w+: DataError"):
        async with database.connection() as connection:
            await connection.fetchval("SELECT $1::int", SECRET_VALUE)
    assert SECRET_VALUE not in str(logs)


def test_an_unreachable_database_is_one_line_without_its_password() -> None:
    port, other = free_port(), free_port()
    url = f"postgresql://ann:hunter2@127.0.0.1:{port},127.0.0.1:{other}/accounts"
    for command in (("users", "list"), ("migrate",)):
        done = issuer_command(*command, DATABASE_URL=url)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "PostgreSQL cannot be used: "
            f"127.0.0.1:{port}, 127.0.0.1:{other}, database accounts: "
            "ConnectionRefusedError (nothing listens there)\n"
        )


def test_a_violated_constraint_is_a_counted_500_without_details(issuer: IssuerProcess) -> None:
    execute(issuer.database_url, "ALTER TABLE users ADD CONSTRAINT closed CHECK (false) NOT VALID")
    response = issuer.register(SECRET_VALUE)
    assert response.status_code == 500
    assert response.json()["type"] == "urn:gatepass:problem:internal"
    assert issuer.metric('gatepass_issuer_database_failures_total{failure="unexpected"}') == 1
    [line] = issuer.events("unexpected_database_error")
    assert (line["level"], line["sqlstate"], line["constraint"]) == ("error", "23514", "closed")
    assert line["request_id"] == response.headers["x-request-id"]
    for secret in ("23514", "closed", "users", SECRET_VALUE):
        assert secret not in response.text
    assert SECRET_VALUE not in issuer.log()


def test_a_database_error_of_a_command_is_one_line(database_url: str) -> None:
    execute(database_url, "ALTER TABLE clients ADD CONSTRAINT closed CHECK (false) NOT VALID")
    done = issuer_command("clients", "create", SECRET_VALUE, DATABASE_URL=database_url)
    assert done.returncode == 1
    assert "CheckViolationError (SQLSTATE 23514)" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
