"""Detects an event loop that is blocked or too slow, by the delay of a task that runs once a second."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 1.0
MAX_LAG_SECONDS: Final = 2.0
_WINDOW_TICKS: Final = 15
"""Long enough that a probe after a stall detects it, and short enough that one stall does not fail several probes."""


class LoopMonitor:
    """The delays of the last ticks.

    Args:
        monotonic: seconds on a clock that never steps.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ticked_at = monotonic()
        self._delays: deque[float] = deque(maxlen=_WINDOW_TICKS)

    def tick(self) -> None:
        """Record a tick; called `TICK_SECONDS` after the last one by an event loop that is not busy."""
        self._delays.append(self._overdue_seconds())
        self._ticked_at = self._monotonic()

    def lag_seconds(self) -> float:
        """Return the longest delay within the window, the present one included."""
        return max(*self._delays, self._overdue_seconds(), 0.0)

    def is_stalled(self) -> bool:
        """Return whether the event loop was blocked too long, now or within the window."""
        return self.lag_seconds() > MAX_LAG_SECONDS

    def _overdue_seconds(self) -> float:
        return self._monotonic() - self._ticked_at - TICK_SECONDS
