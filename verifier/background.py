"""Tasks that run as long as the process. One that ends by itself is a fault, which /healthz reports."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger()


class BackgroundTasks:
    """Named tasks that are not expected to end."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` until `cancel`."""
        task = self._tasks[name] = asyncio.create_task(coroutine)
        task.add_done_callback(lambda task: _report(name, task))

    def cancel(self) -> None:
        """Cancel all tasks."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks = {}

    def ended(self) -> list[str]:
        """Return the names of tasks that have ended without being cancelled."""
        return sorted(name for name, task in self._tasks.items() if task.done())


def _report(name: str, task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.error("background_task_ended", task=name, exc_info=task.exception())
