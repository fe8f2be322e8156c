"""What one of each operation costs: `python -m loadtests.bench_issuer.operation_cost` prints two tables, for sizing.

A real issuer and a real PostgreSQL are asked by a few connections. The processor time of each, the write-ahead
log and the rows that stay are divided by the number of operations. About a minute; figures are of this machine.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg  # noqa: TID251 - asks PostgreSQL what an issuer's work weighs
import httpx
import psutil

from loadtests.bench import machine
from loadtests.bench.processes import ProcessError
from loadtests.bench_issuer import requests
from loadtests.bench_issuer.client import Connection
from loadtests.bench_issuer.testbed import ACCOUNTS, Site, running_testbed

LOGINS: Final = ACCOUNTS
REFRESHES_OF_EACH: Final = 3
_CONNECTIONS: Final = 8
_DONE: Final = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT})
_TABLES: Final = ("users", "sessions", "audit_events", "revocations")
_WAL: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation: milliseconds of a core in the issuer and in PostgreSQL, bytes of write-ahead log."""

    name: str
    issuer_ms: float
    postgres_ms: float
    wal_bytes: float


@dataclass
class Meter:
    """Reads what has been used so far, before and after a batch."""

    site: Site
    database: asyncpg.Connection
    costs: list[Cost] = field(default_factory=list)

    async def measure(self, name: str, batch: Sequence[Callable[[Connection], Awaitable[None]]]) -> None:
        """Do all of `batch` over a few connections and note what one of it cost."""
        before = await self._read()
        await _in_turn(self.site.port, batch)
        used = [now - then for now, then in zip(await self._read(), before, strict=True)]
        issuer, postgres, wal = (each / len(batch) for each in used)
        self.costs.append(Cost(name, issuer * 1000, postgres * 1000, wal))

    async def _read(self) -> tuple[float, float, float]:
        wal = await self.database.fetchval(_WAL)
        return _cpu_seconds(self.site.pid), _cpu_seconds(_postmaster(self.site)), float(wal)


def main() -> int:
    """Print the tables; the exit status."""
    try:
        with running_testbed() as site:
            costs, rows = asyncio.run(_measure(site))
    except (ProcessError, OSError, TimeoutError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"void, nothing is reported: {error} ({type(error).__name__})\n")
        return 1
    described = machine.describe()
    head = f"{described['cpu']}, {described['cores']} cores; {LOGINS:,} sessions"
    sys.stdout.write("\n".join([head, "", *_cost_table(costs), "", *_row_table(rows), ""]))
    return 0


async def _measure(site: Site) -> tuple[list[Cost], dict[str, tuple[int, int]]]:
    database = await asyncpg.connect(site.database_url)
    try:
        meter = Meter(site, database)
        sessions: list[dict[str, Any]] = []
        await meter.measure("login", [_login(number, sessions) for number in range(LOGINS)])
        for _ in range(REFRESHES_OF_EACH):
            await meter.measure("refresh", [_refresh(one) for one in sessions])
        await meter.measure("GET /me", [_with_token("GET", "/me", one) for one in sessions])
        await meter.measure("poll of a verifier, nothing new", [await _poll(site.port)] * LOGINS)
        await meter.measure("logout", [_with_token("POST", "/logout", one) for one in sessions])
        return meter.costs, {table: await _weigh(database, table) for table in _TABLES}
    finally:
        await database.close()


def _login(number: int, sessions: list[dict[str, Any]]) -> Callable[[Connection], Awaitable[None]]:
    async def do(connection: Connection) -> None:
        sessions.append(json.loads(await _ask(connection, requests.login(number))))

    return do


def _refresh(session: dict[str, Any]) -> Callable[[Connection], Awaitable[None]]:
    async def do(connection: Connection) -> None:
        answer = await _ask(connection, requests.refresh(session["refresh_token"]))
        session.update(json.loads(answer))

    return do


def _with_token(method: str, path: str, session: dict[str, Any]) -> Callable[[Connection], Awaitable[None]]:
    async def do(connection: Connection) -> None:
        await _ask(connection, requests.with_token(method, path, session["access_token"]))

    return do


async def _poll(port: int) -> Callable[[Connection], Awaitable[None]]:
    """The aggregation and the one list that it names, with the ETags of their last answers."""
    looks = [await _unless_changed(port, "/status-lists"), await _unless_changed(port, "/status-lists/1")]

    async def do(connection: Connection) -> None:
        for look in looks:
            await _ask(connection, look, frozenset({HTTPStatus.NOT_MODIFIED}))

    return do


async def _unless_changed(port: int, path: str) -> bytes:
    async with httpx.AsyncClient() as client:
        etag = (await client.get(f"http://127.0.0.1:{port}{path}")).headers["ETag"]
    return requests.request("GET", path, b"", f"If-None-Match: {etag}")


async def _ask(connection: Connection, request: bytes, expected: frozenset[int] = _DONE) -> bytes:
    answer = await connection.ask(request)
    if answer.status not in expected:
        raise ProcessError(f"answered {answer.status}")
    return answer.body


async def _in_turn(port: int, batch: Sequence[Callable[[Connection], Awaitable[None]]]) -> None:
    waiting = iter(batch)

    async def work(number: int) -> None:
        connection = await Connection.open(port, number)
        for do in waiting:
            await do(connection)
        connection.close()

    await asyncio.gather(*map(work, range(_CONNECTIONS)))


async def _weigh(database: asyncpg.Connection, table: str) -> tuple[int, int]:
    """Rows, and bytes with indexes, once what was updated is compacted: what stays, not what passes."""
    await database.execute(f"VACUUM FULL {table}")
    row = await database.fetchrow(
        f"SELECT count(*) AS rows, pg_total_relation_size('{table}') AS bytes FROM {table}"  # noqa: S608 - a constant
    )
    assert row is not None
    return row["rows"], row["bytes"]


def _postmaster(site: Site) -> int:
    folder = parse_qs(urlsplit(site.database_url).query)["host"][0]
    return int((Path(folder) / "postmaster.pid").read_text(encoding="ascii").split()[0])


def _cpu_seconds(pid: int) -> float:
    """Of a process and those of its children that live."""
    process, total = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def _cost_table(costs: Sequence[Cost]) -> list[str]:
    rows = [f"| {one.name} | {one.issuer_ms:.2f} | {one.postgres_ms:.2f} | {one.wal_bytes:,.0f} |" for one in costs]
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
