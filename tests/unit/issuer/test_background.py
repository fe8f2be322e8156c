"""Background tasks continue after a failure, and end at the stop."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from issuer.background import Background
from issuer.errors import DatabaseUnavailableError


async def run_for(seconds: float, work: Callable[[], Awaitable[None]], pauses: list[float]) -> None:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    async with Background(pause) as background:
        background.start("work", work)
        await asyncio.sleep(seconds)


def test_failed_work_restarts_after_growing_pauses() -> None:
    pauses: list[float] = []
    runs = 0

    async def fail() -> None:
        nonlocal runs
        runs += 1
        if runs < 8:
            raise RuntimeError("hunter2")

    with capture_logs() as logs:
        asyncio.run(run_for(0.05, fail, pauses))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert runs == 8
    assert [entry["event"] for entry in logs] == ["background_task_failed"] * 7
    assert "hunter2" not in str(logs)


def test_an_outage_is_logged_as_a_warning() -> None:
    async def wait_for_the_database() -> None:
        raise DatabaseUnavailableError

    with capture_logs() as logs:
        asyncio.run(run_for(0, wait_for_the_database, []))
    assert {entry["log_level"] for entry in logs} <= {"warning"}


def test_stopping_waits_until_every_task_has_cleaned_up() -> None:
    ended: list[str] = []

    async def main() -> None:
        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                ended.append("work")

        async with Background() as background:
            for _ in range(3):
                background.start("work", work)
            await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == ["work"] * 3


def test_an_error_in_the_block_ends_the_tasks_and_is_raised() -> None:
    async def main() -> None:
        async with Background() as background:
            background.start("work", lambda: asyncio.sleep(60))
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(main())
