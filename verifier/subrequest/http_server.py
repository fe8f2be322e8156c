"""The connections of one listener: their number, their clock, writes in batches, and closing them all.

`http_connection.py` parses HTTP and has every limit on a single connection.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from verifier.subrequest.http_connection import Connection

CLOSE_GRACE_SECONDS: Final = 1

_MAX_BATCHED_RESPONSES: Final = 16


class HttpServer:
    """State that the connections of one server share.

    Args:
        max_connections: one more gets 503 and is closed.
        drain_seconds: how long `drain` leaves connections open.
    """

    def __init__(self, max_connections: int, drain_seconds: int) -> None:
        self.max_connections = max_connections
        self.drain_seconds = drain_seconds
        self.connections: set[Connection] = set()
        self._batch: list[tuple[asyncio.Transport, bytes]] = []
        self._all_closed = asyncio.Event()
        self.draining = False
        self.clock_seconds = 0
        """Counted by `expire_connections`: one clock for all connections is cheaper than a timer for each."""

    def remove(self, connection: "Connection") -> None:
        """Unregister a closed connection."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_closed.set()

    def write_batched(self, transport: asyncio.Transport, response: bytes) -> None:
        """Write a response together with the others of the same iteration of the event loop.

        Every write wakes a sleeping gateway through an interrupt between processors, which took a third of
        the time of a cache miss (specs/adr/0024).
        """
        if not self._batch:
            asyncio.get_running_loop().call_soon(self.flush)
        self._batch.append((transport, response))
        if len(self._batch) >= _MAX_BATCHED_RESPONSES:
            self.flush()

    def flush(self) -> None:
        """Write the responses that are not written yet."""
        if batch := self._batch:
            self._batch = []
            for transport, response in batch:
                transport.write(response)

    def expire_connections(self) -> None:
        """Close connections whose time is over. Called once a second."""
        self.clock_seconds += 1
        for connection in list(self.connections):
            connection.expire(self.clock_seconds)

    async def drain(self) -> None:
        """Announce the end with every response, close all connections after `drain_seconds`, and wait for them."""
        self.draining = True
        await self._wait_until_closed(self.drain_seconds)
        for connection in list(self.connections):
            connection.close()
        await self._wait_until_closed(CLOSE_GRACE_SECONDS)
        self.abort()

    def abort(self) -> None:
        """Close all connections without waiting for what is not sent."""
        for connection in list(self.connections):
            connection.abort()

    async def _wait_until_closed(self, seconds: float) -> None:
        self._all_closed.clear()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_closed.wait()
