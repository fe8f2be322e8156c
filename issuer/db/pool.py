"""Lends connections to PostgreSQL: first come, first served, with bounded waits and two errors for every failure.

A `Database` is created without connecting, so that the issuer starts and recovers independently of PostgreSQL. During
an outage (see `outage_detector`) no request waits.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg  # noqa: TID251 - issuer.db is about PostgreSQL
import structlog

from issuer.db.connect import connect
from issuer.db.connection_queue import ConnectionQueue, QueueFullError
from issuer.db.failures import ERRORS, Failure, failure_of
from issuer.db.outage_detector import UNREACHABLE, OutageDetector
from issuer.db.url import parse_database_url
from issuer.errors import DatabaseUnavailableError, IssuerError, UnexpectedDatabaseError
from issuer.telemetry.metrics import Metrics
from issuer.telemetry.tracing import UNTRACED, Tracing
from shared.logs import frames_of


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of database operations, in seconds.

    Attributes:
        acquire: to get a connection, including opening a new one.
        connect: to open a connection in the background.
        statement: for one statement, enforced by the server; the client gives up a second later.
    """

    acquire: float
    connect: float
    statement: int


COMMAND_TIMEOUTS: Final = Timeouts(acquire=10.0, connect=10.0, statement=60)
"""Timeouts of operator commands."""

REQUEST_TIMEOUTS: Final = Timeouts(acquire=1.0, connect=1.0, statement=2)
"""Timeouts of requests."""

_SERVER_SETTINGS: Final = {
    "application_name": "gatepass-issuer",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "5s",
}

_WAITING_PER_CONNECTION: Final = 100
"""One connection serves about this many requests in a second, which is how long a request may wait for one."""

Connection = asyncpg.pool.PoolConnectionProxy
"""A connection that is lent for one round trip or one transaction."""

_log = structlog.get_logger(__name__)


class Database:
    """A pool of at most `connections`: `open` before use, `close` after, and run `watch` in the background.

    `watch` uses one more connection.

    Raises:
        ValueError: the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        connections: int,
        timeouts: Timeouts = COMMAND_TIMEOUTS,
        metrics: Metrics | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._url = parse_database_url(url)
        self._size = connections
        self._timeouts = timeouts
        self._metrics = metrics or Metrics()
        self._tracing = tracing
        self._queue = ConnectionQueue(connections, connections * _WAITING_PER_CONNECTION)
        self._acquiring: set[asyncio.Timeout] = set()
        self._opened: weakref.WeakSet[asyncpg.Connection] = weakref.WeakSet()
        self._detector = OutageDetector(
            lambda: self._connect(COMMAND_TIMEOUTS.connect), self._end_waits, self._warm, self._url.name
        )
        self._pool = asyncpg.create_pool(
            min_size=0,
            max_size=connections,
            max_inactive_connection_lifetime=0,
            connect=self._connect_for_pool,
            reset=_nothing_to_reset,
        )
        for failure in Failure:
            self._metrics.database_failures.labels(failure)
        self._metrics.database_connections.labels("open").set_function(self._pool.get_size)
        self._metrics.database_connections.labels("idle").set_function(self._pool.get_idle_size)
        self._metrics.database_connections.labels("awaited").set_function(lambda: len(self._acquiring))

    async def open(self) -> None:
        """Make the pool ready; no connection is opened yet."""
        await self._pool

    async def close(self) -> None:
        """Close idle connections at once; there are no others once the listeners have stopped."""
        self._pool.terminate()

    async def watch(self) -> None:
        """Open some connections ahead of requests, and detect outages, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._warm())
            group.create_task(self._detector.run())

    def require(self) -> None:
        """Raise during a known outage, before work that would be wasted.

        Raises:
            DatabaseUnavailableError: PostgreSQL is known to be unavailable.
        """
        if self._detector.outage is not None:
            raise self._unavailable(Failure.OUTAGE, self._detector.outage)

    async def ping(self) -> None:
        """Make one round trip.

        Raises:
            DatabaseUnavailableError: PostgreSQL did not respond in time.
        """
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection for one round trip.

        Raises:
            DatabaseUnavailableError: PostgreSQL did not respond in time.
            UnexpectedDatabaseError: PostgreSQL rejected a statement for a reason that the code does not expect.
        """
        self.require()
        connected = answered = False
        self._detector.begin()
        try:
            with self._tracing.part("postgresql"):
                lent = await self._acquire()
                try:
                    yield lent
                except asyncpg.InternalClientError:
                    # The server has announced the end of this idle connection and not closed it yet.
                    lent.terminate()
                    raise
                finally:
                    connected = _is_open(lent)
                    await self._release(lent)
            answered = True
        except ERRORS as error:
            raise self._translated(error, connected=connected) from None
        finally:
            self._detector.end(answered=answered)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction, which is committed if the block does not raise.

        Raises:
            DatabaseUnavailableError: PostgreSQL did not respond in time; the transaction may or may not be committed.
            UnexpectedDatabaseError: PostgreSQL rejected a statement unexpectedly; the transaction is rolled back.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _acquire(self) -> Connection:
        deadline = asyncio.timeout(self._timeouts.acquire)
        try:
            async with deadline:
                self._acquiring.add(deadline)
                await self._queue.enter()
                try:
                    lent: Connection = await self._pool.acquire()
                except BaseException:
                    self._queue.leave()
                    raise
        except (TimeoutError, QueueFullError) as error:
            raise self._unavailable(Failure.NO_CONNECTION, type(error).__name__) from None
        else:
            return lent
        finally:
            self._acquiring.discard(deadline)

    async def _release(self, lent: Connection) -> None:
        try:
            await self._pool.release(lent, timeout=self._timeouts.acquire)
        finally:
            self._queue.leave()

    def _translated(self, error: Exception, *, connected: bool) -> IssuerError:
        failure, kind = failure_of(error, connected=connected), type(error).__name__
        if failure is Failure.UNEXPECTED:
            return self._fault(error)
        if failure is Failure.READ_ONLY:
            self._detector.suspect()
        return self._unavailable(failure, kind)

    def _unavailable(self, failure: Failure, kind: str) -> DatabaseUnavailableError:
        self._metrics.database_failures.labels(failure).inc()
        # Only the kind: messages of PostgreSQL quote values of rows.
        _log.warning("database_operation_failed", failure=failure, kind=kind)
        return DatabaseUnavailableError(f"{self._url.name}: {kind}")

    def _fault(self, error: Exception) -> UnexpectedDatabaseError:
        kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
        self._metrics.database_failures.labels(Failure.UNEXPECTED).inc()
        # Names of the schema and places in our code help; `detail` and the message hold values.
        _log.error(
            "unexpected_database_error",
            kind=kind,
            sqlstate=sqlstate,
            table=getattr(error, "table_name", None),
            constraint=getattr(error, "constraint_name", None),
            frames=frames_of(error),
        )
        state = "" if sqlstate is None else f" (SQLSTATE {sqlstate})"
        return UnexpectedDatabaseError(f"{self._url.name}: {kind}{state}")

    async def _connect(self, seconds: float) -> asyncpg.Connection:
        return await connect(
            self._url,
            seconds,
            command_timeout=self._timeouts.statement + 1,
            server_settings={**_SERVER_SETTINGS, "statement_timeout": f"{self._timeouts.statement}s"},
        )

    async def _connect_for_pool(self, *_: Any, **__: Any) -> asyncpg.Connection:
        try:
            connection = await self._connect(self._timeouts.connect)
        except (*UNREACHABLE, asyncio.CancelledError):
            self._detector.suspect()
            raise
        self._opened.add(connection)
        return connection

    def _end_waits(self) -> None:
        """End every wait for a server that is unavailable: each operation fails now, and its connection is closed."""
        self._metrics.database_up.set(0)
        for deadline in self._acquiring:
            deadline.reschedule(0)
        for connection in list(self._opened):
            connection.terminate()

    async def _warm(self) -> None:
        """Open half of the connections now, so that few requests wait for one to be opened."""
        self._metrics.database_up.set(1)
        tries = [self._acquire() for _ in range((self._size + 1) // 2)]
        for lent in await asyncio.gather(*tries, return_exceptions=True):
            if not isinstance(lent, BaseException):
                await self._release(lent)


def _is_open(lent: Connection) -> bool:
    try:
        return not lent.is_closed()
    except asyncpg.InterfaceError:  # it was closed under the block, and is back in the pool
        return False


async def _nothing_to_reset(_: asyncpg.Connection) -> None:
    """Save the round trip that would restore a connection's settings, which the issuer never changes."""
