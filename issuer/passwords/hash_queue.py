"""Admission to expensive work: as many threads as cores, a bounded wait, and a prompt no beyond it.

Password hashing is memory-hard, so more threads than cores do not hash faster but slower (argon2id
19456/2/1 on two cores: 60/s with 2 threads, 29/s with 16). Without a bound on the wait an overload only
grows: everybody is answered after they have left. Nothing here knows what the work is.

The queue is fair: clients take turns, so whoever floods it waits behind themselves and not before others, and
work that somebody waits for at a login goes before all other work. ADR 0047.
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
from pathlib import Path
from typing import Final, TypeVar

from issuer.errors import CapacityError, OverloadedError

T = TypeVar("T")

_WEIGHT: Final = 0.05
"""Of the newest duration in the moving average, which begins with what `calibrate` measured."""

_NICENESS: Final = 10
"""Of threads that hash: a tenth of the share of what is not nice, when both want the same core."""

_CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_MEMORY: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_OWN_MEMORY_BYTES: Final = 96 * 1024 * 1024
"""What the issuer needs beside its hashes: 92 MiB resident when it has started, measured."""


def usable_cores() -> int:
    """Cores that this process may use: its affinity, or less where a cgroup quota says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def _step_back() -> None:
    """Let this thread hash with what others leave: who refreshes or asks must not wait for a core behind hashes."""
    if sys.platform == "linux":  # elsewhere a thread has no niceness of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def usable_memory() -> int:
    """Bytes that this process may use: the machine's, or less where a cgroup says so."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_MEMORY:
        try:
            found.append(int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(found)


def check_memory(threads: int, work_bytes: int, usable_bytes: int) -> None:
    """Better not to start than to be killed at the first burst of logins.

    Raises:
        CapacityError: `threads` at once, each with `work_bytes`, do not fit into `usable_bytes`.
    """
    needed = threads * work_bytes + _OWN_MEMORY_BYTES
    if needed > usable_bytes:
        raise CapacityError(
            f"{threads} password hashes at once need {needed >> 20} MiB of memory and there are {usable_bytes >> 20}"
            ": give more, or fewer cores, or choose a smaller ISSUER_ARGON2_MEMORY_MIB"
        )


class Urgency(IntEnum):
    """Who goes first."""

    LOGIN = 0
    """Somebody with an account waits for it."""
    OTHER = 1
    """New accounts, new passwords, upgrades: while logins alone fill the machine, these are refused."""


def _stays() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom work is done.

    Attributes:
        client: who takes turns with others: their address.
        is_disconnected: whether nobody waits for the result any more.
        urgency: who goes first.
    """

    client: Hashable = None
    is_disconnected: Callable[[], bool] = field(default=_stays, compare=False)
    urgency: Urgency = Urgency.LOGIN


class Turns:
    """A fair order: by urgency, then round by round, each client once in a round. Pure: no clock, no threads."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, int, Asker]] = []
        self._arrivals = itertools.count()
        self._round = dict.fromkeys(Urgency, 0)
        self._last: dict[tuple[Urgency, Hashable], int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ahead_of(self, asker: Asker) -> int:
        """How many would have their turn before `asker`, who is not waiting yet."""
        place = (asker.urgency, self._next_round(asker))
        return sum((urgency, number) <= place for urgency, number, _, _ in self._waiting)

    def join(self, asker: Asker) -> int:
        """Wait; the ticket that `next` will answer with."""
        number, ticket = self._next_round(asker), next(self._arrivals)
        self._last[asker.urgency, asker.client] = number
        heapq.heappush(self._waiting, (asker.urgency, number, ticket, asker))
        return ticket

    def leave(self, ticket: int) -> None:
        """Wait no longer."""
        self._waiting = [entry for entry in self._waiting if entry[2] != ticket]
        heapq.heapify(self._waiting)

    def next(self) -> int | None:
        """The ticket whose turn it is; None if nobody waits."""
        if not self._waiting:
            self._last.clear()
            return None
        urgency, number, ticket, _ = heapq.heappop(self._waiting)
        if number > self._round[Urgency(urgency)]:
            self._round[Urgency(urgency)] = number
            # What is of an earlier round says nothing any more; kept, it would be every client of the day.
            self._last = {key: last for key, last in self._last.items() if key[0] != urgency or last >= number}
        return ticket

    def _next_round(self, asker: Asker) -> int:
        current = self._round[asker.urgency]
        return max(current, self._last.get((asker.urgency, asker.client), current - 1) + 1)


class Admission:
    """Runs work in threads, or refuses it because its turn would come too late. Belongs to one event loop.

    Args:
        threads: how many run at once.
        wait_seconds: the longest wait for a turn.
        started: told how long each waited, in seconds.
        refused: told of every refusal.
        clock: seconds, of any epoch.
    """

    def __init__(
        self,
        threads: int,
        wait_seconds: float,
        started: Callable[[float], None] = lambda _: None,
        refused: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.threads: Final = threads
        self._wait_seconds = wait_seconds
        self._started = started
        self._refused = refused
        self._clock = clock
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hash", initializer=_step_back)
        self._turns = Turns()
        self._signals: dict[int, asyncio.Future[None]] = {}
        self._running = 0
        self._duration = 0.0

    async def calibrate(self, work: Callable[[], object]) -> float:
        """Measure how long `work` takes, in seconds, so that the first burst of requests meets a bounded queue.

        The shortest of three: the first also pays for a thread and its memory.
        """
        loop = asyncio.get_running_loop()
        self._duration = min([(await loop.run_in_executor(self._pool, self._timed, work))[1] for _ in range(3)])
        return self._duration

    def require_turn(self, asker: Asker) -> None:
        """Nothing, if a turn would come in time: to be asked before anything else is spent on a request.

        Raises:
            OverloadedError: it would come too late.
        """
        if self._expected_wait(asker) > self._wait_seconds:
            raise self._refusal()

    async def run(self, work: Callable[[], T], asker: Asker = Asker()) -> T:
        """Run `work` in a thread when its turn comes.

        Raises:
            OverloadedError: its turn would come, or came, too late; or nobody waits for it any more.
        """
        self.require_turn(asker)
        asked = self._clock()
        if self._running < self.threads:
            self._running += 1
        else:
            await self._turn_of(asker)
        # From here on a place in the threads is ours, and has to be handed on.
        return await self._work(work, asked, asker)

    def close(self) -> None:
        """Let running work end and forget the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _expected_wait(self, asker: Asker) -> float:
        """Before queuing, so that an overload costs a refusal and not a place in the queue."""
        ahead = self._turns.ahead_of(asker)
        return max(0, self._running + ahead - self.threads + 1) * self._duration / self.threads

    async def _turn_of(self, asker: Asker) -> None:
        ticket = self._turns.join(asker)
        signal = self._signals[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await signal
        except (TimeoutError, asyncio.CancelledError) as error:
            if signal.done() and not signal.cancelled():
                self._hand_on()  # our turn came in the very moment in which we gave up
            else:
                self._turns.leave(ticket)
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise
        finally:
            del self._signals[ticket]

    async def _work(self, work: Callable[[], T], asked: float, asker: Asker) -> T:
        if asker.is_disconnected():
            self._hand_on()
            raise OverloadedError(retry_after=1)  # which is not sent, and not counted as a refusal
        self._started(self._clock() - asked)
        try:
            # With the context, or what the thread logs would not say of which request.
            run = contextvars.copy_context().run
            running = asyncio.get_running_loop().run_in_executor(self._pool, run, self._timed, work)
        except BaseException:
            self._hand_on()
            raise
        # The thread is taken until the work is done, whether or not somebody still waits for it.
        running.add_done_callback(lambda _: self._hand_on())
        result, duration = await asyncio.shield(running)
        self._duration = self._duration or duration
        self._duration += (duration - self._duration) * _WEIGHT
        return result

    def _timed(self, work: Callable[[], T]) -> tuple[T, float]:
        begun = self._clock()
        return work(), self._clock() - begun

    def _hand_on(self) -> None:
        """A thread is free: the next one's turn."""
        while (ticket := self._turns.next()) is not None:
            signal = self._signals[ticket]
            if not signal.done():
                signal.set_result(None)
                return
        self._running -= 1

    def _refusal(self) -> OverloadedError:
        self._refused()
        # Jitter, or those who were refused together come back together.
        return OverloadedError(retry_after=random.randint(1, 3))  # noqa: S311 - spreads load, guards nothing
