"""The pool of connections to PostgreSQL: first come, first served, with bounded waits.

Every failure of an operation is one of two errors. A `Database` is created without connecting, so that the issuer
starts and recovers independently of PostgreSQL. During an outage (see `outage_detector`) no request waits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg  # noqa: TID251 - issuer.db is about PostgreSQL
import structlog

from issuer.db.connect import connect
from issuer.db.connection_queue import ConnectionQueue, QueueFullError
from issuer.db.failures import ERRORS, Failure, describe_kind, failure_of
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
        connection: to get a connection, including opening a new one.
        statement: for one statement, enforced by the server; the client gives up a second later.
    """

    connection: float
    statement: int


COMMAND_TIMEOUTS: Final = Timeouts(connection=10.0, statement=60)
"""Timeouts of operator commands."""

REQUEST_TIMEOUTS: Final = Timeouts(connection=1.0, statement=2)
"""Timeouts of requests."""

_SERVER_SETTINGS: Final = {
    "application_name": "gatepass-issuer",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "5s",
}

_WAITING_PER_CONNECTION: Final = 100
"""About the number of requests that one connection serves in one second, the longest wait for a connection."""

Connection = asyncpg.Connection
"""A connection, acquired for one round trip or one transaction."""

_log = structlog.get_logger(__name__)


class Database:
    """A database with at most `connections` connections. Run `watch` in the background, and `close` it after use.

    `watch` uses one more connection. asyncpg's own pool is not used: it wraps each connection in a proxy and creates
    a task for each release (ADR 0137).

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
        self._opened: set[Connection] = set()
        self._idle: list[Connection] = []
        self._detector = OutageDetector(
            lambda: self._connect(COMMAND_TIMEOUTS.connection), self._end_waits, self._warm, self._url.name
        )
        for failure in Failure:
            self._metrics.database_failures.labels(failure)
        self._metrics.database_connections.labels("open").set_function(lambda: len(self._opened))
        self._metrics.database_connections.labels("idle").set_function(lambda: len(self._idle))
        self._metrics.database_connections.labels("awaited").set_function(lambda: len(self._acquiring))

    async def close(self) -> None:
        """Close all connections at once; no request uses one once the listeners have stopped."""
        self._close_all()

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
            DatabaseUnavailableError: PostgreSQL cannot be used now.
        """
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Acquire a connection for one round trip.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be used now.
            UnexpectedDatabaseError: PostgreSQL rejected a statement for a reason that the code does not expect.
        """
        self.require()
        connected = responded = False
        self._detector.begin()
        try:
            with self._tracing.part("postgresql"):
                connection = await self._acquire()
                try:
                    yield connection
                except (asyncpg.InternalClientError, TimeoutError, asyncio.CancelledError):
                    # A response may still come, or the server has announced the end of this connection.
                    connection.terminate()
                    raise
                finally:
                    connected = not connection.is_closed()
                    self._release(connection)
            responded = True
        except ERRORS as error:
            raise self._translated(error, connected=connected) from None
        finally:
            self._detector.end(responded=responded)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Acquire a connection and begin a transaction, which is committed if the block does not raise.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be used now; the transaction may or may not be committed.
            UnexpectedDatabaseError: PostgreSQL rejected a statement unexpectedly; the transaction is rolled back.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _acquire(self) -> Connection:
        if self._idle and not self._queue.is_busy:  # without a wait, no deadline is needed
            await self._queue.enter()
            return self._idle.pop()
        deadline = asyncio.timeout(self._timeouts.connection)
        try:
            async with deadline:
                self._acquiring.add(deadline)
                await self._queue.enter()
                try:
                    return self._idle.pop() if self._idle else await self._open()
                except BaseException:
                    self._queue.leave()
                    raise
        except (TimeoutError, QueueFullError) as error:
            raise self._unavailable(Failure.NO_CONNECTION, type(error).__name__) from None
        finally:
            self._acquiring.discard(deadline)

    def _release(self, connection: Connection) -> None:
        if not connection.is_closed():
            self._idle.append(connection)
        self._queue.leave()

    def _translated(self, error: Exception, *, connected: bool) -> IssuerError:
        failure, kind = failure_of(error, connected=connected), type(error).__name__
        if failure is Failure.UNEXPECTED:
            return self._unexpected(error)
        if failure is Failure.READ_ONLY:
            self._detector.suspect()
        return self._unavailable(failure, kind)

    def _unavailable(self, failure: Failure, kind: str) -> DatabaseUnavailableError:
        self._metrics.database_failures.labels(failure).inc()
        # Only the kind: messages of PostgreSQL quote values of rows.
        _log.warning("database_operation_failed", failure=failure, kind=kind)
        return DatabaseUnavailableError(f"{self._url.name}: {describe_kind(kind)}")

    def _unexpected(self, error: Exception) -> UnexpectedDatabaseError:
        kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
        self._metrics.database_failures.labels(Failure.UNEXPECTED).inc()
        # Names of tables and constraints, and stack frames, hold no values; `detail` and the message do.
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

    async def _open(self) -> Connection:
        try:
            connection = await self._connect(self._timeouts.connection)
        except (*UNREACHABLE, asyncio.CancelledError):
            self._detector.suspect()
            raise
        self._opened.add(connection)
        connection.add_termination_listener(lambda _: self._closed(connection))
        return connection

    def _closed(self, connection: Connection) -> None:
        """Remove a connection that was closed by either side."""
        self._opened.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _end_waits(self) -> None:
        """Fail every operation that waits for the unavailable server, and close all connections."""
        self._metrics.database_up.set(0)
        for deadline in self._acquiring:
            deadline.reschedule(0)
        self._close_all()

    def _close_all(self) -> None:
        self._idle.clear()
        for connection in list(self._opened):
            connection.terminate()

    async def _warm(self) -> None:
        """Open half of the connections now, so that few requests wait for one to be opened."""
        self._metrics.database_up.set(1)
        tries = [self._acquire() for _ in range((self._size + 1) // 2)]
        for acquired in await asyncio.gather(*tries, return_exceptions=True):
            if not isinstance(acquired, BaseException):
                self._release(acquired)
