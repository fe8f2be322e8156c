"""Cost as accounts grow: `python -m loadtests.bench_issuer.growth` prints a table, for sizing.

The database is filled in steps: accounts by `users import`, and a live session for each, with its audit event.
After each step the same operations are measured in sessions of accounts chosen at random. A million accounts take
about a quarter of an hour. Figures are of this machine, with PostgreSQL on it too.
"""

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import asyncpg  # noqa: TID251 - fills the issuer's database and asks for its size

from loadtests.bench import machine
from loadtests.bench.processes import ProcessError
from loadtests.bench_issuer.client import Connection
from loadtests.bench_issuer.operations import Cost, Meter, Operations, Step
from loadtests.bench_issuer.testbed import ACCOUNTS, PASSWORD, Site, running_testbed
from shared.command_line import add_version

STEPS: Final = (10_000, 100_000, 1_000_000)
OPERATIONS: Final = 500
"""The number of operations of each kind in a step."""

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


@dataclass(frozen=True, slots=True)
class Measured:
    """One operation: its mean cost, and the median of the seconds until its response."""

    cost: Cost
    seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """The measurements with one number of accounts."""

    accounts: int
    imported_per_second: float
    database_bytes: int
    verify_seconds: float
    operations: dict[str, Measured]


def main(arguments: Sequence[str]) -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench_issuer.growth", description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=STEPS, help="numbers of accounts, ascending")
    add_version(parser)
    steps = parser.parse_args(arguments).accounts
    if sorted({ACCOUNTS, *steps}) != [ACCOUNTS, *steps]:
        parser.error(f"--accounts takes ascending numbers above {ACCOUNTS}")
    try:
        with running_testbed() as site:
            sizes = [_measure_with(site, before, after) for before, after in pairwise([ACCOUNTS, *steps])]
    except (ProcessError, OSError, TimeoutError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"no result: {error} ({type(error).__name__})\n")
        return 1
    described = machine.describe()
    sys.stdout.write("\n".join([f"{described['cpu']}, {described['cores']} cores", "", *_table(sizes), ""]))
    return 0


def _measure_with(site: Site, before: int, after: int) -> Size:
    started = time.monotonic()
    site.stack.import_accounts(range(before, after), PASSWORD)
    imported_per_second = (after - before) / (time.monotonic() - started)
    _report(f"{after:,} accounts: imported")
    size, operations = asyncio.run(_fill_and_measure(site, after))
    started = time.monotonic()
    site.stack.run_issuer("audit", "verify")
    _report(f"{after:,} accounts: measured")
    return Size(after, imported_per_second, size, time.monotonic() - started, operations)


async def _fill_and_measure(site: Site, accounts: int) -> tuple[int, dict[str, Measured]]:
    database = await asyncpg.connect(site.database_url)
    try:
        for table in ("users", "sessions", "audit_events"):
            # It would run during a measurement, and its processor time would be counted.
            await database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        await database.execute(_FILL, timeout=_FILL_SECONDS)
        await database.execute("VACUUM ANALYZE", timeout=_FILL_SECONDS)
        size = await database.fetchval("SELECT pg_database_size(current_database())")
        _report(f"{accounts:,} accounts: each has a session")
        chosen = random.Random(accounts).sample(range(accounts), OPERATIONS)  # noqa: S311 - the same every time
        meter, operations = Meter(database, site.database_url), Operations(site.ours, iter(chosen))

        async def measure(batch: Sequence[Step]) -> Measured:
            waits: list[float] = []
            cost = await meter.measure(site.ours, [_timed(step, waits) for step in batch])
            return Measured(cost, statistics.median(waits))

        return size, {
            "login": await measure(operations.logins(OPERATIONS)),
            "refresh": await measure(operations.refreshes(OPERATIONS)),
            "GET /me": await measure(operations.with_tokens("GET", "/me", OPERATIONS)),
            "logout": await measure(operations.with_tokens("POST", "/logout", OPERATIONS)),
        }
    finally:
        await database.close()


def _timed(step: Step, waits: list[float]) -> Step:
    async def do(connection: Connection) -> None:
        started = time.monotonic()
        await step(connection)
        waits.append(time.monotonic() - started)

    return do


def _report(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _table(sizes: Sequence[Size]) -> list[str]:
    names = list(sizes[0].operations)
    columns = [f"{name}: issuer + PostgreSQL, ms of a core" for name in names]
    head = ["accounts", *columns, "accounts imported a second", "database, MiB", "`audit verify`, s"]
    rows = [
        [
            f"{size.accounts:,}",
            *(f"{one.cost.server_ms:.2f} + {one.cost.postgres_ms:.2f}" for one in size.operations.values()),
            f"{size.imported_per_second:,.0f}",
            f"{size.database_bytes / 2**20:,.0f}",
            f"{size.verify_seconds:.1f}",
        ]
        for size in sizes
    ]
    waits = [
        f"{size.accounts:,}: "
        + ", ".join(f"{name} {one.seconds * 1000:.1f}" for name, one in size.operations.items())
        for size in sizes
    ]
    lines = [" | ".join(row) for row in [head, ["---:"] * len(head), *rows]]
    return [*(f"| {line} |" for line in lines), "", "Median wait in ms, eight connections: " + "; ".join(waits)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
