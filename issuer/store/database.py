"""The connection pool: bounded waits, and one error for every way in which PostgreSQL can be away.

Made without connecting, so that the issuer starts, stays and recovers whatever the database does. While it
is known to be away (see `lookout`), nobody waits for it at all.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg  # noqa: TID251 - issuer/store is that door
import structlog

from issuer.errors import StoreUnavailableError
from issuer.metrics import Metrics
from issuer.store.lookout import UNREACHABLE, Lookout
from issuer.tracing import UNTRACED, Tracing


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds.

    Attributes:
        acquire: for a connection, and for a new one to be opened if none is free.
        connect: for a new connection that nobody waits for.
        statement: for a statement to end, by the server; a second later we take it for lost.
    """

    acquire: float
    connect: float
    statement: int


PATIENT: Final = Patience(acquire=10.0, connect=10.0, statement=60)
"""For commands, which have nobody waiting behind them."""

PROMPT: Final = Patience(acquire=1.0, connect=1.0, statement=2)
"""For requests."""

_SERVER_SETTINGS: Final = {
    "application_name": "gatepass-issuer",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "5s",
}

_FAILURES: Final[Mapping[str, tuple[type[Exception], ...]]] = {
    "too_slow": (
        TimeoutError,
        asyncpg.exceptions.QueryCanceledError,
        asyncpg.exceptions.LockNotAvailableError,
        asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    ),
    "conflict": (asyncpg.exceptions.TransactionRollbackError,),
    "read_only": (asyncpg.exceptions.ReadOnlySQLTransactionError,),
    "no_resources": (asyncpg.exceptions.InsufficientResourcesError, asyncpg.exceptions.PostgresSystemError),
    "no_access": (
        asyncpg.exceptions.InvalidAuthorizationSpecificationError,
        asyncpg.exceptions.InvalidCatalogNameError,
    ),
    "not_migrated": (asyncpg.exceptions.UndefinedTableError, asyncpg.exceptions.UndefinedColumnError),
    "connection": (
        OSError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        asyncpg.PostgresConnectionError,
        asyncpg.exceptions.OperatorInterventionError,
    ),
}
"""Every way of being away, by the label that it is counted under; the first that fits. All of them may pass."""

_KNOWN_AWAY: Final = "away"
"""Refused without asking."""

_NO_CONNECTION: Final = "no_connection"
"""None was free, or none could be opened, within a request's patience."""

_AWAY: Final = tuple(kind for kinds in _FAILURES.values() for kind in kinds)

Connection = asyncpg.pool.PoolConnectionProxy
"""A connection that was lent for one round trip, or for one transaction."""

_log = structlog.get_logger(__name__)


class Database:
    """A pool of at most `connections`; `open` before use, `close` after, and where requests wait `watch` beside it.

    Watching takes one connection more.
    """

    def __init__(
        self,
        url: str,
        connections: int,
        patience: Patience = PATIENT,
        metrics: Metrics | None = None,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._url = url
        self._size = connections
        self._patience = patience
        self._metrics = metrics or Metrics()
        self._tracing = tracing
        self._acquiring: set[asyncio.Timeout] = set()
        self._opened: weakref.WeakSet[asyncpg.Connection] = weakref.WeakSet()
        self._lookout = Lookout(self._connect, self._cut_off, self._warm)
        self._pool = asyncpg.create_pool(
            min_size=0,
            max_size=connections,
            max_inactive_connection_lifetime=0,
            connect=self._connect_for_pool,
            reset=_nothing_to_reset,
        )
        for label in (*_FAILURES, _KNOWN_AWAY, _NO_CONNECTION):
            self._metrics.database_failures.labels(label)
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
        """Open some connections ahead of requests, and watch over the server, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._warm())
            group.create_task(self._lookout.run())

    def require(self) -> None:
        """Before work that would be in vain: fail at once while PostgreSQL is known to be away.

        Raises:
            StoreUnavailableError: it is.
        """
        if self._lookout.away is not None:
            raise self._failure(_KNOWN_AWAY, self._lookout.away)

    async def ping(self) -> None:
        """One round trip.

        Raises:
            StoreUnavailableError: PostgreSQL does not answer, or not in time.
        """
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection for one round trip.

        Raises:
            StoreUnavailableError: PostgreSQL does not answer, or not in time.
        """
        self.require()
        answered = False
        self._lookout.begin()
        try:
            with self._tracing.part("postgresql"):
                lent = await self._acquire()
                try:
                    yield lent
                except asyncpg.InternalClientError:
                    # The server said that it ends this idle connection and has not closed it yet: of no more use.
                    lent.terminate()
                    raise
                finally:
                    await self._pool.release(lent, timeout=self._patience.acquire)
            answered = True
        except _AWAY as error:
            if isinstance(error, ValueError) and not isinstance(error, asyncpg.ClientConfigurationError):
                raise  # an argument of the wrong type: our mistake, and no reason to try again
            raise self._unavailable(error) from None
        finally:
            self._lookout.end(answered=answered)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One connection inside a transaction, committed when the block ends well.

        Raises:
            StoreUnavailableError: PostgreSQL does not answer, or not in time; then nothing is sure to be done.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def _acquire(self) -> Connection:
        deadline = asyncio.timeout(self._patience.acquire)
        try:
            async with deadline:
                self._acquiring.add(deadline)
                lent: Connection = await self._pool.acquire()
        except TimeoutError:
            raise self._failure(_NO_CONNECTION, "TimeoutError") from None
        else:
            return lent
        finally:
            self._acquiring.discard(deadline)

    def _unavailable(self, error: Exception) -> StoreUnavailableError:
        label = next(label for label, kinds in _FAILURES.items() if isinstance(error, kinds))
        if label == "read_only":
            self._lookout.suspect()
        return self._failure(label, type(error).__name__)

    def _failure(self, label: str, kind: str) -> StoreUnavailableError:
        self._metrics.database_failures.labels(label).inc()
        # The kind alone: messages of PostgreSQL quote the rows that they are about.
        _log.warning("PostgreSQL did not do it", failure=label, kind=kind)
        return StoreUnavailableError(kind)

    async def _connect(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._url,
            timeout=self._patience.connect,
            command_timeout=self._patience.statement + 1,
            server_settings={**_SERVER_SETTINGS, "statement_timeout": f"{self._patience.statement}s"},
        )

    async def _connect_for_pool(self, *_: Any, **__: Any) -> asyncpg.Connection:
        try:
            connection = await self._connect()
        except (*UNREACHABLE, asyncio.CancelledError):
            self._lookout.suspect()
            raise
        self._opened.add(connection)
        return connection

    def _cut_off(self) -> None:
        """End every wait for a server that is away: each statement fails now, and none is sent on these again."""
        self._metrics.database_away.set(1)
        for deadline in self._acquiring:
            deadline.reschedule(0)
        for connection in list(self._opened):
            connection.terminate()

    async def _warm(self) -> None:
        """Open half of the connections now: a request waits for none that takes longer than it may."""
        self._metrics.database_away.set(0)
        tries = [self._pool.acquire(timeout=self._patience.connect) for _ in range((self._size + 1) // 2)]
        for lent in await asyncio.gather(*tries, return_exceptions=True):
            if not isinstance(lent, BaseException):
                await self._pool.release(lent)


async def _nothing_to_reset(_: asyncpg.Connection) -> None:
    """Nobody changes a connection's settings, so its return saves the round trip that would restore them."""
