"""A fair queue for connections: the longest waiter gets the next free one. ADR 0094.

asyncpg's pool is unfair: a task that has just released a connection can acquire it again before the waiter that was
woken for it, which is then queued again at the end. With 64 clients and 10 connections, one request in a hundred
waited ten times the median.
"""

import asyncio


class QueueFullError(Exception):
    """The queue has reached its capacity."""


class ConnectionQueue:
    """A first-in, first-out queue for a fixed number of slots.

    Args:
        slots: number of connections that are in use at once.
        capacity: maximum number of waiters; more could not be served before their deadline.

    Attributes:
        waiting: number of waiters.
    """

    def __init__(self, slots: int, capacity: int) -> None:
        # A semaphore passes a released slot to the first waiter; a later caller cannot take it first.
        self._slots = asyncio.Semaphore(slots)
        self._capacity = capacity
        self.waiting = 0

    @property
    def is_busy(self) -> bool:
        """Return whether a new caller has to wait."""
        return self._slots.locked()

    async def enter(self) -> None:
        """Wait for a slot, which the caller releases with `leave`. A cancelled caller holds none.

        Raises:
            QueueFullError: the queue is full.
        """
        if self.is_busy and self.waiting >= self._capacity:
            raise QueueFullError
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1

    def leave(self) -> None:
        """Release the slot to the first waiter."""
        self._slots.release()
