"""The cost of one operation in a server and its PostgreSQL: processor time, and write-ahead log.

Processor time is what both used while a few connections did a batch, divided by the size of the batch. It does not
depend on how fast the load is sent, and less than a rate does on what else the machine does.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg  # noqa: TID251 - measures PostgreSQL beside the issuer
import psutil

from loadtests.bench.processes import ProcessError
from loadtests.bench_issuer import requests
from loadtests.bench_issuer.client import Connection
from loadtests.bench_issuer.naive_server import Server
from loadtests.bench_issuer.testbed import ACCOUNTS

Step = Callable[[Connection], Awaitable[None]]
"""One operation over a connection."""

_CONNECTIONS: Final = 8
_DONE: Final = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT})
_WAL: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one operation: milliseconds of a core in server and PostgreSQL, bytes of write-ahead log."""

    server_ms: float
    postgres_ms: float
    wal_bytes: float

    @property
    def milliseconds(self) -> float:
        """Milliseconds of server and PostgreSQL together."""
        return self.server_ms + self.postgres_ms


class Operations:
    """Batches of operations at one server, in the sessions of accounts that are logged in one after the other."""

    def __init__(self, server: Server, accounts: Iterator[int] | None = None) -> None:
        self.server: Final = server
        self.sessions: Final[list[dict[str, Any]]] = []
        self._accounts = accounts or cycle(range(ACCOUNTS))

    def logins(self, number: int) -> list[Step]:
        """Log in; the sessions are used by other operations."""

        async def log_in(connection: Connection) -> None:
            self.sessions.append(json.loads(await send(connection, requests.login(next(self._accounts)))))

        return [log_in] * number

    def refreshes(self, number: int) -> list[Step]:
        """Refresh one session after the other."""

        def refresh(session: dict[str, Any]) -> Step:
            async def do(connection: Connection) -> None:
                session.update(json.loads(await send(connection, requests.refresh(session["refresh_token"]))))

            return do

        return [refresh(self._session(index)) for index in range(number)]

    def with_tokens(self, method: str, path: str, number: int) -> list[Step]:
        """Send a request with the access token of one session after the other."""

        def step(session: dict[str, Any]) -> Step:
            async def do(connection: Connection) -> None:
                await send(connection, requests.with_token(method, path, session["access_token"]))

            return do

        return [step(self._session(index)) for index in range(number)]

    def client_credentials(self, number: int) -> list[Step]:
        """Request the token of a client."""
        return self.repeated(requests.client_credentials(self.server.client_id, self.server.client_secret), number)

    def key_sets(self, number: int) -> list[Step]:
        """Fetch the whole key set."""
        return self.repeated(requests.request("GET", "/.well-known/jwks.json"), number)

    def repeated(self, request: bytes, number: int, expected: frozenset[int] = _DONE) -> list[Step]:
        """Send one request again and again."""

        async def do(connection: Connection) -> None:
            await send(connection, request, expected)

        return [do] * number

    def _session(self, index: int) -> dict[str, Any]:
        return self.sessions[index % len(self.sessions)]


class Meter:
    """Reads what has been used, before and after a batch.

    Args:
        database: a connection of its own to the server's PostgreSQL.
        database_url: of the same, on this machine.
    """

    def __init__(self, database: asyncpg.Connection, database_url: str) -> None:
        self._database = database
        self._postmaster = _postmaster(database_url)

    async def measure(self, server: Server, batch: Sequence[Step]) -> Cost:
        """Do all of `batch` over a few connections.

        Raises:
            ProcessError: an operation failed.
        """
        before = await self._read(server)
        await _do_all(server.port, batch)
        used = [now - then for now, then in zip(await self._read(server), before, strict=True)]
        seconds, postgres_seconds, wal_bytes = (each / len(batch) for each in used)
        return Cost(seconds * 1000, postgres_seconds * 1000, wal_bytes)

    async def _read(self, server: Server) -> tuple[float, float, float]:
        wal = await self._database.fetchval(_WAL)
        return _cpu_seconds(server.pid), _cpu_seconds(self._postmaster), float(wal)


async def send(connection: Connection, request: bytes, expected: frozenset[int] = _DONE) -> bytes:
    """Return the body of the response.

    Raises:
        ProcessError: it has another status.
    """
    response = await connection.send(request)
    if response.status not in expected:
        raise ProcessError(f"unexpected response: {response.status}")
    return response.body


async def _do_all(port: int, batch: Sequence[Step]) -> None:
    waiting = iter(batch)

    async def work(number: int) -> None:
        connection = await Connection.open(port, number)
        for do in waiting:
            await do(connection)
        connection.close()

    await asyncio.gather(*map(work, range(_CONNECTIONS)))


def _postmaster(database_url: str) -> int:
    folder = parse_qs(urlsplit(database_url).query)["host"][0]
    return int((Path(folder) / "postmaster.pid").read_text(encoding="ascii").split()[0])


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its live children, in seconds.

    By the processor-time clock of each process (clock_getcpuclockid(3)), which counts nanoseconds where /proc has
    hundredths of a second.
    """
    process, total = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(OSError):
            total += time.clock_gettime(~one.pid << 3 | 2)
    return total
