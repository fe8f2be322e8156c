"""Password hashing in threads: as many as CPUs, with a bounded and fair queue. ADR 0047, ADR 0083.

Hashing is memory-hard: more threads than CPUs make it slower (argon2id 19456/2/1 on two CPUs: 60 hashes/s
with 2 threads, 29/s with 16). Without a bound on the wait, an overload delays every response until its client has
timed out.

The queue serves clients round-robin, so that a client that floods it delays only itself. Logins precede other work.
"""

import asyncio
import contextvars
import heapq
import itertools
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, TypeVar

from issuer.context import never_disconnected
from issuer.errors import OverloadedError

T = TypeVar("T")

_EMA_ALPHA: Final = 0.05
"""Weight of the latest duration in the moving average of durations, which starts with the result of `calibrate`."""

_NICENESS: Final = 10
"""A hashing thread gets about a tenth of the CPU time of a thread with niceness 0."""


class Priority(IntEnum):
    """The order in which queued work is served."""

    LOGIN = 0
    OTHER = 1
    """New accounts, new passwords, rehashes: rejected while logins alone use all CPUs."""


@dataclass(frozen=True, slots=True)
class QueueClient:
    """A client for which work is queued.

    Attributes:
        key: identifies the client, such as its IP network.
        is_disconnected: returns whether the client has closed its connection.
        priority: of the work.
    """

    key: Hashable = None
    is_disconnected: Callable[[], bool] = field(default=never_disconnected, compare=False)
    priority: Priority = Priority.LOGIN


class FairQueue:
    """A queue ordered by priority, then by round: each client has one entry in a round. No clock, no threads."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Priority, int, int]] = []
        self._entry_ids = itertools.count()
        self._round = dict.fromkeys(Priority, 0)
        self._last_round: dict[tuple[Priority, Hashable], int] = {}

    def ahead_of(self, client: QueueClient) -> int:
        """Return how many entries would be served before a new one of `client`."""
        new = (client.priority, self._next_round(client))
        return sum((priority, round_number) <= new for priority, round_number, _ in self._waiting)

    def join(self, client: QueueClient) -> int:
        """Add an entry and return its id."""
        round_number, entry_id = self._next_round(client), next(self._entry_ids)
        self._last_round[client.priority, client.key] = round_number
        heapq.heappush(self._waiting, (client.priority, round_number, entry_id))
        return entry_id

    def leave(self, entry_id: int) -> None:
        """Remove an entry."""
        self._waiting = [entry for entry in self._waiting if entry[2] != entry_id]
        heapq.heapify(self._waiting)

    def next(self) -> int | None:
        """Remove the next entry and return its id; None if the queue is empty."""
        if not self._waiting:
            self._last_round.clear()
            return None
        priority, round_number, entry_id = heapq.heappop(self._waiting)
        if round_number > self._round[priority]:
            self._round[priority] = round_number
            # Delete the clients of earlier rounds, which have no effect any more and would accumulate.
            known = self._last_round.items()
            self._last_round = {key: last for key, last in known if key[0] != priority or last >= round_number}
        return entry_id

    def _next_round(self, client: QueueClient) -> int:
        current = self._round[client.priority]
        return max(current, self._last_round.get((client.priority, client.key), current - 1) + 1)


class PasswordHashQueue:
    """A queue that runs work in threads, or rejects work that would wait too long. For one event loop only.

    Args:
        threads: the number of concurrent hashes.
        wait_seconds: the longest wait in the queue.
        started: called with the seconds that each piece of work has waited.
        rejected: called for every rejection.
    """

    def __init__(
        self,
        threads: int,
        wait_seconds: float,
        started: Callable[[float], None] = lambda _: None,
        rejected: Callable[[], None] = lambda: None,
    ) -> None:
        self.threads: Final = threads
        self._wait_seconds = wait_seconds
        self._started = started
        self._rejected = rejected
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hash", initializer=_lower_priority)
        self._queue = FairQueue()
        self._signals: dict[int, asyncio.Future[None]] = {}
        self._running = 0
        self._duration = 0.0

    async def calibrate(self, work: Callable[[], object]) -> float:
        """Measure the duration of `work` in seconds, so that the queue is bounded from the first burst of requests.

        Uses the shortest of three runs: the first one also starts a thread and allocates its memory.
        """
        loop = asyncio.get_running_loop()
        self._duration = min([(await loop.run_in_executor(self._pool, _timed, work))[1] for _ in range(3)])
        return self._duration

    def check_capacity(self, client: QueueClient) -> None:
        """Check that work for `client` would start in time. Call it before other work is done for the request.

        Raises:
            OverloadedError: the work would start too late.
        """
        ahead = self._queue.ahead_of(client)
        # The work that must end before a thread is free, divided by the number of threads.
        wait = max(0, self._running + ahead - self.threads + 1) * self._duration / self.threads
        if wait > self._wait_seconds:
            raise self._rejection()

    async def run(self, work: Callable[[], T], client: QueueClient = QueueClient()) -> T:
        """Run `work` in a thread when `client` is next.

        Raises:
            OverloadedError: the work would start too late, or waited too long, or the client has disconnected.
        """
        self.check_capacity(client)
        arrived = time.monotonic()
        if self._running < self.threads:
            self._running += 1
        else:
            await self._wait_for_slot(client)
        # From here on this task holds a slot, which every path must release.
        return await self._work(work, arrived, client)

    def close(self) -> None:
        """Wait for running work and drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _wait_for_slot(self, client: QueueClient) -> None:
        entry_id = self._queue.join(client)
        signal = self._signals[entry_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await signal
        except (TimeoutError, asyncio.CancelledError) as error:
            if signal.done() and not signal.cancelled():
                self._release_slot()  # the slot was assigned just as the wait ended
            else:
                self._queue.leave(entry_id)
            if isinstance(error, TimeoutError):
                raise self._rejection() from None
            raise
        finally:
            del self._signals[entry_id]

    async def _work(self, work: Callable[[], T], arrived: float, client: QueueClient) -> T:
        if client.is_disconnected():
            self._release_slot()
            raise OverloadedError(retry_after=1)  # never sent, and not counted as a rejection
        self._started(time.monotonic() - arrived)
        try:
            # The context carries the request id into the thread's log lines.
            run = contextvars.copy_context().run
            running = asyncio.get_running_loop().run_in_executor(self._pool, run, _timed, work)
        except BaseException:
            self._release_slot()
            raise
        # A cancelled request does not stop its thread: the slot is free when the work is done, not earlier.
        running.add_done_callback(lambda _: self._release_slot())
        result, duration = await asyncio.shield(running)
        self._duration = self._duration or duration
        self._duration += (duration - self._duration) * _EMA_ALPHA
        return result

    def _release_slot(self) -> None:
        while (entry_id := self._queue.next()) is not None:
            signal = self._signals[entry_id]
            if not signal.done():
                signal.set_result(None)
                return
        self._running -= 1

    def _rejection(self) -> OverloadedError:
        self._rejected()
        # Jitter, so that clients that were rejected together do not retry together.
        return OverloadedError(retry_after=random.randint(1, 3))  # noqa: S311 - spreads load, protects no secret


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return the result of `work`, and its duration in seconds."""
    started = time.monotonic()
    return work(), time.monotonic() - started


def _lower_priority() -> None:
    """Give the event loop priority over hashing, so that a refresh does not wait for hashes."""
    if sys.platform == "linux":  # only Linux has a niceness for each thread
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
