"""`python -m loadtests.bench_issuer.sizing`: tables of what an operation, a row and a status list cost.

A few connections send requests to a real issuer with a real PostgreSQL. The processor time of each, the write-ahead
log and the stored rows are divided by the number of operations. A status list has 2^20 bits, one for each session;
its size and the time to build it depend on how many are revoked at once, which are few: a bit is set only until the
last access token has expired.

`--accounts 10000 100000 1000000` adds the costs as accounts grow. Before each of these steps accounts are imported,
and each gets a live session with its audit event; the operations are in sessions of accounts chosen at random. A
million accounts take about a quarter of an hour, the rest about a minute. Figures are of this machine, with
PostgreSQL on it too.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Final

import asyncpg  # noqa: TID251 - measures PostgreSQL beside the issuer, and fills its tables
import httpx

from issuer.keys.store import SigningKey, load_key_set
from issuer.status_lists.publisher import sign_list
from loadtests import machine
from loadtests.bench_issuer import requests
from loadtests.bench_issuer.client import Connection, Response, Step
from loadtests.bench_issuer.operations import Batch, Cost, Meter, Operations, send
from loadtests.bench_issuer.testbed import ACCOUNTS, PASSWORD, IssuerTestbed, running_testbed
from loadtests.command import exit_status, progress, say
from loadtests.tables import table
from shared.command_line import add_version
from shared.status_list import LIST_BITS, encode, pack

LOGINS: Final = ACCOUNTS
REFRESHES_OF_EACH: Final = 3
OPERATIONS: Final = 500
"""The number of operations of each kind with each number of accounts."""
REVOKED: Final = (0, 100, 1_000, 10_000, 100_000, LIST_BITS // 2)

_TABLES: Final = ("users", "sessions", "audit_events", "revocations")
_LIST_ROUNDS: Final = 9
_GROWING: Final[Mapping[str, Batch]] = {
    "login": Operations.logins,
    "refresh": Operations.refreshes,
    "GET /me": Operations.readings,
    "logout": Operations.logouts,
}
_FILL_SECONDS: Final = 600.0
_FILL: Final = """
WITH without AS (
  SELECT users.id, row_number() OVER (ORDER BY users.id) - 1 AS number
  FROM users LEFT JOIN sessions ON sessions.user_id = users.id
  WHERE sessions.id IS NULL
), list AS (
  INSERT INTO status_lists (size, next_idx, created_at) VALUES (1 << 20, 1 << 20, now()) RETURNING id
), filled AS (
  INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
    status_list_id, status_idx, address, user_agent)
  SELECT gen_random_uuid(), without.id, 'first-party', 'profile', now(), now(), now() + interval '7 days',
    now() + interval '30 days', list.id, number, '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0)'
  FROM without, list
  RETURNING id, user_id, client_id, address
)
INSERT INTO audit_events (kind, user_id, session_id, client_id, actor, address, request_id)
SELECT 'login_succeeded', user_id, id, client_id, 'self', address, gen_random_uuid()::text FROM filled
"""


def main(arguments: Sequence[str]) -> int:
    """Print the tables and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.bench_issuer.sizing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--accounts", type=int, nargs="+", default=[], help="numbers of accounts, ascending")
    add_version(parser)
    steps = parser.parse_args(arguments).accounts
    if sorted({ACCOUNTS, *steps}) != [ACCOUNTS, *steps]:
        parser.error(f"--accounts takes ascending numbers above {ACCOUNTS}")
    say(f"{machine.in_words(machine.describe())}; {LOGINS:,} sessions\n")
    report = progress()
    with running_testbed() as testbed:
        key = load_key_set(Path(testbed.stack.issuer_settings["ISSUER_KEYS_DIR"])).signing
        assert key is not None, "the issuer signs"
        head = [f"revoked of {LIST_BITS:,}", "token, bytes", "pack, ms", "compress, ms", "all with signature, ms"]
        lists = table(head, [_list_row(revoked, key) for revoked in REVOKED])
        say("\n\n".join([lists, *asyncio.run(_measure_operations(testbed))]))
        rows = [_measure_with(testbed, before, after, report) for before, after in pairwise([ACCOUNTS, *steps])]
    if rows:
        head = ["accounts", *(f"{name}: issuer + PostgreSQL, ms of a core" for name in _GROWING)]
        head += ["imported a second", "database, MiB", "`audit verify`, s", "median waits, eight connections"]
        say(f"\n{table(head, rows)}")
    return 0


def _list_row(revoked: int, key: SigningKey) -> list[str]:
    indices = random.Random(revoked).sample(range(LIST_BITS), revoked)  # noqa: S311 - the same list every time
    packed, issuer = pack(indices, LIST_BITS), "https://issuer.example"

    def sign() -> bytes:
        return sign_list(indices, LIST_BITS, f"{issuer}/status-lists/1", issuer, 0, key)

    works = (lambda: pack(indices, LIST_BITS), lambda: encode(packed), sign)
    return [f"{revoked:,}", f"{len(sign()):,}", *map(_median_ms, works)]


def _median_ms(work: Callable[[], object]) -> str:
    return f"{statistics.median(timeit.repeat(work, number=1, repeat=_LIST_ROUNDS)) * 1000:.1f}"


async def _measure_operations(testbed: IssuerTestbed) -> tuple[str, str]:
    """Return the tables of operations and of rows."""
    database = await asyncpg.connect(testbed.database_url)
    try:
        meter, operations = Meter(database, testbed.database_url), Operations(testbed.ours)
        costs: list[list[str]] = []

        async def measure(name: str, batch: Sequence[Step]) -> None:
            cost = await meter.measure(testbed.ours, batch)
            costs.append([name, f"{cost.server_ms:.2f}", f"{cost.postgres_ms:.2f}", f"{cost.wal_bytes:,.0f}"])

        await measure("login", operations.logins(LOGINS))
        await measure("refresh", operations.refreshes(REFRESHES_OF_EACH * LOGINS))
        await measure("client_credentials", operations.client_credentials(LOGINS))
        await measure("GET /me", operations.readings(LOGINS))
        await measure("poll of a verifier, nothing new", [await _poll(testbed.ours.port)] * LOGINS)
        await measure("logout", operations.logouts(LOGINS))
        head = ["one", "issuer, ms of a core", "PostgreSQL, ms of a core", "write-ahead log, bytes"]
        rows = [await _measure_rows(database, name) for name in _TABLES]
        return table(head, costs), table(["table", "rows", "bytes a row, with indexes"], rows)
    finally:
        await database.close()


async def _poll(port: int) -> Step:
    """Return requests for the aggregation and the one list that it names, with the ETags of their last responses."""
    polls = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for path in ("/status-lists", "/status-lists/1"):
            etag = (await client.get(path)).headers["ETag"]
            polls.append(requests.request("GET", path, b"", f"If-None-Match: {etag}"))

    async def poll(connection: Connection) -> Response:
        await send(connection, polls[0], frozenset({HTTPStatus.NOT_MODIFIED}))
        return await send(connection, polls[1], frozenset({HTTPStatus.NOT_MODIFIED}))

    return poll


async def _measure_rows(database: asyncpg.Connection, name: str) -> list[str]:
    """Return a table's rows, and the bytes of each with indexes, without the space of old versions of rows."""
    await database.execute(f"VACUUM FULL {name}")
    rows = await database.fetchval(f"SELECT count(*) FROM {name}")  # noqa: S608 - a constant
    size = await database.fetchval(f"SELECT pg_total_relation_size('{name}')")
    return [name, f"{rows:,}", f"{size / rows:,.0f}" if rows else "-"]


def _measure_with(testbed: IssuerTestbed, before: int, after: int, report: Callable[[str], None]) -> list[str]:
    """Add accounts with their sessions; return the row of the table."""
    started = time.monotonic()
    testbed.stack.import_accounts(range(before, after), PASSWORD)
    imported_per_second = (after - before) / (time.monotonic() - started)
    report(f"{after:,} accounts: imported")
    size, costs = asyncio.run(_fill_and_measure(testbed, after))
    started = time.monotonic()
    testbed.stack.run_issuer("audit", "verify")
    verify_seconds = time.monotonic() - started
    report(f"{after:,} accounts: measured, each with a session")
    waits = (f"{name} {cost.wait_ms:.1f} ms" for name, cost in costs.items())
    return [
        f"{after:,}",
        *(f"{cost.server_ms:.2f} + {cost.postgres_ms:.2f}" for cost in costs.values()),
        f"{imported_per_second:,.0f}",
        f"{size / 2**20:,.0f}",
        f"{verify_seconds:.1f}",
        ", ".join(waits),
    ]


async def _fill_and_measure(testbed: IssuerTestbed, accounts: int) -> tuple[int, dict[str, Cost]]:
    """Return the bytes of the database, and the cost of each operation."""
    database = await asyncpg.connect(testbed.database_url)
    try:
        for name in ("users", "sessions", "audit_events"):
            # Autovacuum would run during a measurement, and its processor time would be counted.
            await database.execute(f"ALTER TABLE {name} SET (autovacuum_enabled = off)")
        await database.execute(_FILL, timeout=_FILL_SECONDS)
        await database.execute("VACUUM ANALYZE", timeout=_FILL_SECONDS)
        size = await database.fetchval("SELECT pg_database_size(current_database())")
        chosen = random.Random(accounts).sample(range(accounts), OPERATIONS)  # noqa: S311 - the same every time
        meter, operations = Meter(database, testbed.database_url), Operations(testbed.ours, iter(chosen))
        return size, {
            name: await meter.measure(testbed.ours, batch(operations, OPERATIONS)) for name, batch in _GROWING.items()
        }
    finally:
        await database.close()


if __name__ == "__main__":
    sys.exit(exit_status("sizing", lambda: main(sys.argv[1:])))
