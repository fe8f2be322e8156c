"""The connection pool: bounded waits, and one error for every way in which PostgreSQL can be away.

Made without connecting, so that the issuer starts, stays and recovers whatever the database does.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg  # noqa: TID251 - issuer/store is that door
import structlog

from issuer.errors import StoreUnavailableError

_ACQUIRE_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 1.0
_COMMAND_SECONDS: Final = 5.0

_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.UndefinedTableError,
    asyncpg.exceptions.UndefinedColumnError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
)
"""Down, starting, stopping, full, failed over, not ours to enter, not migrated: all of them may pass."""

Connection = asyncpg.pool.PoolConnectionProxy
"""A connection that was lent for one round trip, or for one transaction."""

_log = structlog.get_logger(__name__)


class Database:
    """A pool of at most `connections`; `open` before use, `close` after."""

    def __init__(self, url: str, connections: int) -> None:
        self._pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=connections,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            server_settings={"application_name": "gatepass-issuer"},
        )

    async def open(self) -> None:
        """Make the pool ready; no connection is opened yet."""
        await self._pool

    async def close(self) -> None:
        """Close idle connections at once; there are no others once the listeners have stopped."""
        self._pool.terminate()

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
        try:
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
                yield connection
        except _AWAY as error:
            if isinstance(error, ValueError) and not isinstance(error, asyncpg.ClientConfigurationError):
                raise  # an argument of the wrong type: our mistake, and no reason to try again
            # The kind alone: messages of PostgreSQL quote the rows that they are about.
            _log.warning("PostgreSQL is away", kind=type(error).__name__)
            raise StoreUnavailableError(type(error).__name__) from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One connection inside a transaction, committed when the block ends well.

        Raises:
            StoreUnavailableError: PostgreSQL does not answer, or not in time; then nothing is sure to be done.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection
