"""Admission to expensive work: as many threads as cores, a bounded wait, and a prompt no beyond it.

Password hashing is memory-hard, so more threads than cores do not hash faster but slower (argon2id
19456/2/1 on two cores: 60/s with 2 threads, 29/s with 16). Without a bound on the wait an overload only
grows: everybody is answered after they have left. Nothing here knows what the work is.
"""

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from issuer.errors import OverloadedError

T = TypeVar("T")

_WEIGHT: Final = 0.05
"""Of the newest duration in the moving average, which begins at nothing: the first burst is let in."""

_CGROUP_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores that this process may use: its affinity, or less where a cgroup quota says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


class Admission:
    """Runs work in threads, or refuses it because its turn would come too late.

    Args:
        threads: how many run at once.
        wait_seconds: the longest wait for a turn.
        started: told how long each waited, in seconds.
        refused: told of every refusal.
    """

    def __init__(
        self,
        threads: int,
        wait_seconds: float,
        started: Callable[[float], None] = lambda _: None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._threads = threads
        self._wait_seconds = wait_seconds
        self._started = started
        self._refused = refused
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="hash")
        self._lock = threading.Lock()
        self._admitted = 0
        self._duration = 0.0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread when its turn comes.

        Raises:
            OverloadedError: its turn would come, or came, too late.
        """
        if self._expected_wait() > self._wait_seconds:
            raise self._refusal()
        self._admitted += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, self._take_turn, work, time.monotonic()
            )
        finally:
            self._admitted -= 1

    def close(self) -> None:
        """Let running work end and forget the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _expected_wait(self) -> float:
        """Before queuing, so that an overload costs a refusal and not a place in the queue."""
        return max(0, self._admitted - self._threads + 1) * self._duration / self._threads

    def _take_turn(self, work: Callable[[], T], asked: float) -> T:
        begun = time.monotonic()
        if begun - asked > self._wait_seconds:
            raise self._refusal()
        self._started(begun - asked)
        try:
            return work()
        finally:
            self._observe(time.monotonic() - begun)

    def _observe(self, duration: float) -> None:
        with self._lock:
            self._duration += (duration - self._duration) * _WEIGHT

    def _refusal(self) -> OverloadedError:
        self._refused()
        # Jitter, or those who were refused together come back together.
        return OverloadedError(retry_after=random.randint(1, 3))  # noqa: S311 - spreads load, guards nothing
