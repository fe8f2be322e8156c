"""A fair queue for connections: the longest waiter gets the next free one. ADR 0094.

asyncpg's pool lets a task that has just given a connection back take it again before the waiter that was woken
for it, which then waits at the end. With 64 clients and 10 connections one request in a hundred waited ten
times as long as the median.
"""

import asyncio


class QueueFullError(Exception):
    """As many wait as may wait."""


class ConnectionQueue:
    """A first-in, first-out queue for a fixed number of places.

    Args:
        places: how many are served at once.
        capacity: how many may wait; more would only wait for their deadline.
    """

    def __init__(self, places: int, capacity: int) -> None:
        # Hands a returned place directly to the first waiter; newcomers cannot overtake it.
        self._places = asyncio.Semaphore(places)
        self._capacity = capacity
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Number of waiters."""
        return self._waiting

    async def enter(self) -> None:
        """Wait for a place; each must be given back by `leave`. A caller that is cancelled leaves by itself.

        Raises:
            QueueFullError: too many wait already.
        """
        if self._places.locked() and self._waiting >= self._capacity:
            raise QueueFullError
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Give a place back, to the first that waits."""
        self._places.release()
