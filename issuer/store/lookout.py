"""Whether PostgreSQL is there, found out while somebody waits for it: by its silence, not by one slow answer.

A request may rightly wait for a lock or a disk for longer than a client should wait for a dead server. So
nobody's own wait is judged: as long as *any* answer arrives, on a request's connection or on the one that is
kept here to ask, the server lives. ADR 0049. Never lends a connection.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg  # noqa: TID251 - issuer/store is that door
import structlog

_TICK_SECONDS: Final = 0.045
_SILENT_TICKS: Final = 4
"""Silence is counted in turns of our own loop and not in time, so that a pause of ours is not taken for one of
PostgreSQL's: where the loop keeps up, 0.18 s, or a turn more if the last answer came within the first."""

_SEARCH_SECONDS: Final = 0.1
_GREETING_SECONDS: Final = 1.0

UNREACHABLE: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,
)
"""What a probe takes for absence. Every other answer, such as "too many connections", is a sign of life."""

_log = structlog.get_logger(__name__)


class Lookout:
    """Watches one server.

    Args:
        connect: a new connection, within a second or not at all.
        gone: told when the server is away, once; before `away` is seen by anybody.
        back: awaited when it has answered again.

    Attributes:
        away: the kind of failure since when it does not answer; None while it does.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[asyncpg.Connection]],
        gone: Callable[[], None],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        self.away: str | None = None
        self._connect = connect
        self._gone = gone
        self._back = back
        self._connection: asyncpg.Connection | None = None
        self._waiting = 0
        self._answered = False
        self._suspected = asyncio.Event()
        self._needed = asyncio.Event()

    def begin(self) -> None:
        """Somebody waits for an answer from now on."""
        self._waiting += 1
        self._needed.set()

    def end(self, *, answered: bool) -> None:
        """They do no longer, and it was an answer, or not."""
        self._waiting -= 1
        self._answered = self._answered or answered
        if not self._waiting and not self._suspected.is_set():
            self._needed.clear()

    def suspect(self) -> None:
        """Ask at once: somebody could not connect, or met a server that only reads."""
        self._suspected.set()
        self._needed.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                await self._needed.wait()
                fault = await self._fault()
                if fault is not None:
                    await self._be_away(fault)
        finally:
            self._drop_connection()

    async def _fault(self) -> str | None:
        """What is wrong, or None after a sign of life."""
        self._answered = False
        with suppress(TimeoutError):
            await asyncio.wait_for(self._suspected.wait(), _TICK_SECONDS)
        if self._answered and not self._suspected.is_set():
            return None
        self._suspected.clear()
        if not self._waiting:
            self._needed.clear()
        probe = asyncio.create_task(self._probe())
        try:
            for _ in range(_SILENT_TICKS - 1):
                await asyncio.wait({probe}, timeout=_TICK_SECONDS)
                if probe.done():
                    return probe.result()
                if self._answered:
                    return None
            return "Silence"
        finally:
            await self._abandon(probe)

    async def _abandon(self, probe: "asyncio.Task[str | None]") -> None:
        """A connection whose answer nobody reads is of no more use."""
        if not probe.done():
            self._drop_connection()
            probe.cancel()
            with suppress(asyncio.CancelledError):
                await probe

    async def _be_away(self, fault: str) -> None:
        self.away = fault
        # The kind alone: messages of PostgreSQL quote the rows that they are about.
        _log.error("PostgreSQL is away", kind=fault)
        self._drop_connection()
        self._gone()
        while await self._probe() is not None:
            self._drop_connection()
            await asyncio.sleep(_SEARCH_SECONDS)
        self.away = None
        _log.info("PostgreSQL is back")
        await self._back()

    async def _probe(self) -> str | None:
        """Ask; None if there is a sign of life. A connection that was lost meanwhile proves nothing."""
        kept = self._connection is not None
        fault = await self._ask()
        if fault is not None and kept:
            self._drop_connection()
            fault = await self._ask()
        return fault

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                if self._connection is None:
                    self._connection = await self._connect()
                read_only = await self._connection.fetchval("SHOW transaction_read_only")
        except UNREACHABLE as error:
            return type(error).__name__
        except asyncpg.PostgresError:
            return None
        # A primary that became a standby answers for ever; connecting anew finds the one that took over.
        return "ReadOnly" if read_only == "on" else None

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
