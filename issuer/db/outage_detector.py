"""Detects PostgreSQL outages with a probe connection, while a request waits for a response. ADR 0095.

A request may have to wait for a lock or a disk, and every server pauses sometimes: for a checkpoint, while its
virtual machine is migrated, until a lost packet is sent again. So one slow response proves nothing. An outage means
that *nothing* arrives for a second, neither for a request nor for the probe, or that the server rejects connections
or writes. Requests never use the probe connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg  # noqa: TID251 - issuer.db is about PostgreSQL
import structlog

TICK_SECONDS: Final = 0.05
OUTAGE_TICKS: Final = 19
"""Ticks without a response that mean an outage: 0.95 s, or one tick more if a response came within the first. The
event loop counts them, so that a pause of this process does not count as a pause of PostgreSQL."""

_RETRY_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 1.0

UNREACHABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
)
"""Errors of a probe that mean an outage. Any other error, such as "too many connections", is a response."""

_log = structlog.get_logger(__name__)


class OutageDetector:
    """Detector of outages of one database.

    Args:
        connect: opens a connection; cancelled when it takes too long.
        outage_began: called once when an outage begins.
        outage_ended: awaited when the database can be used again.
        name: of the database, for the log.

    Attributes:
        outage: the kind of failure with which the current outage began; None while there is no outage.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        outage_began: Callable[[], None],
        outage_ended: Callable[[], Awaitable[None]],
        name: str = "",
    ) -> None:
        self.outage: str | None = None
        self._connect = connect
        self._outage_began = outage_began
        self._outage_ended = outage_ended
        self._name = name
        self._connection: asyncpg.Connection | None = None
        self._waiting = 0
        self._responded = False
        self._suspected = asyncio.Event()
        self._needed = asyncio.Event()

    def begin(self) -> None:
        """Note that a request starts to wait for a response."""
        self._waiting += 1
        self._needed.set()

    def end(self, *, responded: bool) -> None:
        """Note that the request no longer waits, and whether PostgreSQL responded."""
        self._waiting -= 1
        self._responded = self._responded or responded
        if not self._waiting and not self._suspected.is_set():
            self._needed.clear()

    def suspect(self) -> None:
        """Probe at once: a connection could not be opened, or the server rejected a write."""
        self._suspected.set()
        self._needed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await self._needed.wait()
                failure = await self._detect_failure()
                if failure is not None:
                    await self._handle_outage(failure)
        finally:
            self._drop_connection()

    async def _detect_failure(self) -> str | None:
        """Return the kind of failure, or None after a response."""
        self._responded = False
        # Not wait_for(), which in Python 3.11 ignores a cancellation that comes together with the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(TICK_SECONDS):
                await self._suspected.wait()
        if self._responded and not self._suspected.is_set():
            return None
        self._suspected.clear()
        if not self._waiting:
            self._needed.clear()
        probe = asyncio.create_task(self._probe())
        try:
            for _ in range(OUTAGE_TICKS - 1):
                await asyncio.wait({probe}, timeout=TICK_SECONDS)
                if probe.done():
                    return probe.result()
                if self._responded:
                    return None
            return "NoResponse"
        finally:
            await self._abandon(probe)

    async def _abandon(self, probe: "asyncio.Task[str | None]") -> None:
        """End a probe. A connection whose response was not read cannot be used again."""
        if not probe.done():
            self._drop_connection()
            probe.cancel()
            # Not `await probe`, whose CancelledError could also be that of this task.
            await asyncio.wait({probe})

    async def _handle_outage(self, failure: str) -> None:
        self.outage = failure
        # Only the kind: messages of PostgreSQL quote values of rows.
        _log.error("database_outage_began", kind=failure, database=self._name)
        self._drop_connection()
        self._outage_began()
        while await self._probe_in_time() is not None:
            self._drop_connection()
            await asyncio.sleep(_RETRY_SECONDS)
        self.outage = None
        _log.info("database_outage_ended", database=self._name)
        await self._outage_ended()

    async def _probe_in_time(self) -> str | None:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await self._probe()
        except TimeoutError:
            return "TimeoutError"

    async def _probe(self) -> str | None:
        """Return the kind of failure, or None. A failure of an old connection proves nothing: try a new one."""
        is_new = self._connection is None
        failure = await self._query()
        if failure is not None and not is_new:
            self._drop_connection()
            failure = await self._query()
        return failure

    async def _query(self) -> str | None:
        try:
            if self._connection is None:
                self._connection = await self._connect()
            read_only = await self._connection.fetchval("SHOW transaction_read_only")
        except UNREACHABLE as error:
            return type(error).__name__
        except asyncpg.PostgresError:
            return None
        # A primary that became a standby still responds; a new connection finds the new primary.
        return "ReadOnly" if read_only == "on" else None

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
