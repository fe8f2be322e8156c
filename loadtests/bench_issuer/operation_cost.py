"""The cost of each operation: `python -m loadtests.bench_issuer.operation_cost` prints two tables, for sizing.

A few connections send requests to a real issuer with a real PostgreSQL. The processor time of each, the write-ahead
log and the stored rows are divided by the number of operations. About a minute; figures are of this machine.
"""

import asyncio
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import asyncpg  # noqa: TID251 - measures PostgreSQL beside the issuer
import httpx

from loadtests.bench import machine
from loadtests.bench.processes import ProcessError
from loadtests.bench_issuer import requests
from loadtests.bench_issuer.client import Connection
from loadtests.bench_issuer.operations import Cost, Meter, Operations, Step
from loadtests.bench_issuer.testbed import ACCOUNTS, Site, running_testbed

LOGINS: Final = ACCOUNTS
REFRESHES_OF_EACH: Final = 3
_TABLES: Final = ("users", "sessions", "audit_events", "revocations")


def main() -> int:
    """Print the tables and return the exit status."""
    try:
        with running_testbed() as site:
            costs, rows = asyncio.run(_measure(site))
    except (ProcessError, OSError, TimeoutError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"no result: {error} ({type(error).__name__})\n")
        return 1
    described = machine.describe()
    head = f"{described['cpu']}, {described['cores']} cores; {LOGINS:,} sessions"
    sys.stdout.write("\n".join([head, "", *_cost_table(costs), "", *_row_table(rows), ""]))
    return 0


async def _measure(site: Site) -> tuple[list[tuple[str, Cost]], dict[str, tuple[int, int]]]:
    database = await asyncpg.connect(site.database_url)
    try:
        meter, operations = Meter(database, site.database_url), Operations(site.ours)
        costs: list[tuple[str, Cost]] = []

        async def measure(name: str, batch: Sequence[Step]) -> None:
            costs.append((name, await meter.measure(site.ours, batch)))

        await measure("login", operations.logins(LOGINS))
        await measure("refresh", operations.refreshes(REFRESHES_OF_EACH * LOGINS))
        await measure("client_credentials", operations.client_credentials(LOGINS))
        await measure("GET /me", operations.with_tokens("GET", "/me", LOGINS))
        await measure("poll of a verifier, nothing new", await _polls(site, operations, LOGINS))
        await measure("logout", operations.with_tokens("POST", "/logout", LOGINS))
        return costs, {table: await _measure_table(database, table) for table in _TABLES}
    finally:
        await database.close()


async def _polls(site: Site, operations: Operations, number: int) -> list[Step]:
    """Return requests for the aggregation and the one list that it names, with the ETags of their last responses."""
    polls = [
        operations.repeated(await _unless_changed(site.port, path), 1, frozenset({HTTPStatus.NOT_MODIFIED}))[0]
        for path in ("/status-lists", "/status-lists/1")
    ]

    async def poll(connection: Connection) -> None:
        for request in polls:
            await request(connection)

    return [poll] * number


async def _unless_changed(port: int, path: str) -> bytes:
    async with httpx.AsyncClient() as client:
        etag = (await client.get(f"http://127.0.0.1:{port}{path}")).headers["ETag"]
    return requests.request("GET", path, b"", f"If-None-Match: {etag}")


async def _measure_table(database: asyncpg.Connection, table: str) -> tuple[int, int]:
    """Return the rows of a table, and its bytes with indexes, without the space of updated rows."""
    await database.execute(f"VACUUM FULL {table}")
    row = await database.fetchrow(
        f"SELECT count(*) AS rows, pg_total_relation_size('{table}') AS bytes FROM {table}"  # noqa: S608 - a constant
    )
    assert row is not None
    return row["rows"], row["bytes"]


def _cost_table(costs: Sequence[tuple[str, Cost]]) -> list[str]:
    rows = [
        f"| {name} | {cost.server_ms:.2f} | {cost.postgres_ms:.2f} | {cost.wal_bytes:,.0f} |" for name, cost in costs
    ]
    head = "| one | issuer, ms of a core | PostgreSQL, ms of a core | write-ahead log, bytes |"
    return [head, "|---|---:|---:|---:|", *rows]


def _row_table(rows: dict[str, tuple[int, int]]) -> list[str]:
    lines = [
        f"| {table} | {count:,} | {size / count:,.0f} |" if count else f"| {table} | 0 | - |"
        for table, (count, size) in rows.items()
    ]
    return ["| table | rows | bytes a row, with indexes |", "|---|---:|---:|", *lines]


if __name__ == "__main__":
    sys.exit(main())
