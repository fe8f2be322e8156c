"""Background tasks continue after a failure, and end at the stop."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from structlog.testing import capture_logs

from issuer.background import Background
from issuer.errors import DatabaseUnavailableError

pytestmark = pytest.mark.anyio


async def run_for(seconds: float, work: Callable[[], Awaitable[None]], pauses: list[float]) -> None:
    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    async with Background(pause) as background:
        background.start("work", work)
        await asyncio.sleep(seconds)


async def test_failed_work_restarts_after_growing_pauses() -> None:
    pauses: list[float] = []
    runs = 0

    async def fail() -> None:
        nonlocal runs
        runs += 1
        if runs < 8:
            raise RuntimeError("hunter2")

    with capture_logs() as logs:
        await run_for(0.05, fail, pauses)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert runs == 8
    assert [entry["event"] for entry in logs] == ["background_task_failed"] * 7
    assert "hunter2" not in str(logs)


async def test_an_outage_is_logged_as_a_warning() -> None:
    async def wait_for_the_database() -> None:
        raise DatabaseUnavailableError

    with capture_logs() as logs:
        await run_for(0, wait_for_the_database, [])
    assert {entry["log_level"] for entry in logs} == {"warning"}


async def work_until_cancelled(ended: list[str]) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        ended.append("work")
        raise


async def test_stopping_waits_until_every_task_has_cleaned_up() -> None:
    ended: list[str] = []
    async with Background() as background:
        for _ in range(3):
            background.start("work", partial(work_until_cancelled, ended))
        await asyncio.sleep(0)
    assert ended == ["work"] * 3


async def test_an_error_in_the_block_ends_the_tasks_and_is_raised() -> None:
    ended: list[str] = []

    async def serve_until_an_error() -> None:
        async with Background() as background:
            background.start("work", partial(work_until_cancelled, ended))
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(KeyError):
        await serve_until_an_error()
    assert ended == ["work"]
