"""Operations at a server, and the cost of one there and in its PostgreSQL: processor time, and write-ahead log.

Processor time is what both used while a few connections did a batch, divided by the size of the batch. It does not
depend on how fast the load is sent, and other programs on the machine change it less than they change a rate.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg  # noqa: TID251 - measures PostgreSQL beside the issuer

from loadtests.bench_issuer import requests
from loadtests.bench_issuer.client import Connection, Response, Step
from loadtests.bench_issuer.testbed import ACCOUNTS, Server
from loadtests.processes import InvalidRunError, cpu_seconds

_CONNECTIONS: Final = 8
_DONE: Final = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT})
_WAL: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one operation.

    Attributes:
        server_ms, postgres_ms: milliseconds of a core.
        wal_bytes: bytes of write-ahead log.
        wait_ms: median time until the response.
    """

    server_ms: float
    postgres_ms: float
    wal_bytes: float
    wait_ms: float

    @property
    def milliseconds(self) -> float:
        """Milliseconds of server and PostgreSQL together."""
        return self.server_ms + self.postgres_ms


class Operations:
    """Batches of operations at one server: lists of steps, which send the requests when they are called."""

    def __init__(self, server: Server, accounts: Iterator[int] | None = None) -> None:
        self.server: Final = server
        self.sessions: Final[list[dict[str, Any]]] = []
        self._accounts = accounts or cycle(range(ACCOUNTS))

    def logins(self, number: int) -> list[Step]:
        """Return logins of one account after the other. The other operations use the new sessions."""

        async def log_in(connection: Connection) -> Response:
            response = await send(connection, self.login())
            self.sessions.append(json.loads(response.body))
            return response

        return [log_in] * number

    def login(self) -> bytes:
        """Return the request that logs the next account in."""
        return requests.login(next(self._accounts))

    def refreshes(self, number: int) -> list[Step]:
        """Return refreshes of one session after the other."""

        def refresh(session: dict[str, Any]) -> Step:
            async def do(connection: Connection) -> Response:
                response = await send(connection, requests.refresh(session["refresh_token"]))
                session.update(json.loads(response.body))
                return response

            return do

        return [refresh(self._session(index)) for index in range(number)]

    def readings(self, number: int) -> list[Step]:
        """Return `GET /me` in one session after the other."""
        return self._with_tokens("GET", "/me", number)

    def logouts(self, number: int) -> list[Step]:
        """Return logouts of one session after the other."""
        return self._with_tokens("POST", "/logout", number)

    def _with_tokens(self, method: str, path: str, number: int) -> list[Step]:
        def step(session: dict[str, Any]) -> Step:
            # The token is read when the request is sent: it may have been refreshed until then.
            return lambda connection: send(connection, requests.with_token(method, path, session["access_token"]))

        return [step(self._session(index)) for index in range(number)]

    def client_credentials(self, number: int) -> list[Step]:
        """Return requests for the token of a client."""
        request = requests.client_credentials(self.server.client_id, self.server.client_secret)
        return [lambda connection: send(connection, request)] * number

    def key_sets(self, number: int) -> list[Step]:
        """Return requests for the whole key set."""
        request = requests.request("GET", "/.well-known/jwks.json")
        return [lambda connection: send(connection, request)] * number

    async def log_in(self, number: int) -> list[dict[str, Any]]:
        """Log in `number` times over a few connections; return the new sessions."""
        await do_all(self.server.port, self.logins(number))
        return self.sessions[-number:]

    def _session(self, index: int) -> dict[str, Any]:
        return self.sessions[index % len(self.sessions)]


Batch = Callable[[Operations, int], list[Step]]
"""One kind of operation, repeated."""


class Meter:
    """A reader of processor time and write-ahead log, before and after a batch.

    Args:
        database: a connection of its own to the server's PostgreSQL.
        database_url: of the same, on this machine.
    """

    def __init__(self, database: asyncpg.Connection, database_url: str) -> None:
        self._database = database
        folder = Path(parse_qs(urlsplit(database_url).query)["host"][0])
        self._postmaster = int((folder / "postmaster.pid").read_text(encoding="ascii").split()[0])

    async def measure(self, server: Server, batch: Sequence[Step]) -> Cost:
        """Do all of `batch` over a few connections; return the cost of one operation on average."""
        before = await self._read(server)
        waits = await do_all(server.port, batch)
        used = [now - then for now, then in zip(await self._read(server), before, strict=True)]
        seconds, postgres_seconds, wal_bytes = (each / len(batch) for each in used)
        return Cost(seconds * 1000, postgres_seconds * 1000, wal_bytes, median(waits) * 1000)

    async def _read(self, server: Server) -> tuple[float, float, float]:
        wal = await self._database.fetchval(_WAL)
        return cpu_seconds(server.pid), cpu_seconds(self._postmaster), float(wal)


async def send(connection: Connection, request: bytes, expected: frozenset[int] = _DONE) -> Response:
    """Send a request and return its response.

    Raises:
        InvalidRunError: the response has a status other than `expected`.
    """
    response = await connection.send(request)
    if response.status not in expected:
        operation = request.partition(b" HTTP/")[0].decode("ascii")
        busy = ": repeat the run when other programs do not use the machine"
        hint = busy if response.status == HTTPStatus.SERVICE_UNAVAILABLE else ""
        raise InvalidRunError(f"{operation} got {response.status}{hint}")
    return response


async def do_all(port: int, batch: Sequence[Step]) -> list[float]:
    """Do each of `batch` once, over a few connections; return the seconds until each response."""
    waiting, waits = iter(batch), list[float]()

    async def work(number: int) -> None:
        connection = await Connection.open(port, number)
        waits.extend([(await do(connection)).seconds for do in waiting])
        connection.close()

    await asyncio.gather(*map(work, range(_CONNECTIONS)))
    return waits
