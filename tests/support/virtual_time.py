"""An event loop whose clock jumps to the next timer when nothing else is ready: days pass in milliseconds."""

import asyncio
import selectors
from typing import Final

_EPOCH: Final = 1_800_000_000.0


class _Selector(selectors.DefaultSelector):
    """Advances the clock where another selector would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is scheduled: the test would wait forever"
            self.elapsed += max(timeout, 0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop for tasks that use timers and no threads."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.elapsed

    def now(self) -> float:
        """Return the virtual time in seconds since the epoch."""
        return _EPOCH + self._virtual.elapsed


def now() -> float:
    """Return the time of the running virtual loop, in seconds since the epoch."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.now()
