"""Background tasks: each has a name, is restarted when it fails, and is cancelled at shutdown.

This module does not know what the tasks do. Exceptions are logged with type and stack frames, without the message.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import structlog

from issuer.errors import UnavailableError
from shared.logs import frames_of

_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0

Work = Callable[[], Awaitable[None]]
"""Work that runs until it is cancelled or complete."""

_log = structlog.get_logger(__name__)


class Background:
    """Background tasks: `async with Background() as background: background.start("keys", key_watcher.watch)`.

    Args:
        pause: waits for the given seconds, before failed work is restarted.
    """

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pause = pause
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Work) -> None:
        """Run `work` in the background and restart it after a failure. `name` appears in the log."""
        self._tasks.append(asyncio.create_task(self._keep_running(name, work), name=name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel all tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_running(self, name: str, work: Work) -> None:
        seconds = _FIRST_PAUSE_SECONDS
        while True:
            started_at = asyncio.get_running_loop().time()
            try:
                await work()
            except UnavailableError as error:
                _log.warning("background_task_retrying", task=name, kind=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - a failure must not end this task or the others
                _log.error("background_task_failed", task=name, kind=type(error).__name__, frames=frames_of(error))
            else:
                return
            # The work ran for long, so this is a new failure: begin with the shortest pause again.
            if asyncio.get_running_loop().time() - started_at > _LONGEST_PAUSE_SECONDS:
                seconds = _FIRST_PAUSE_SECONDS
            await self._pause(seconds)
            seconds = min(seconds * 2, _LONGEST_PAUSE_SECONDS)
