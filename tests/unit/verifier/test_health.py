"""A blocked event loop is detected, also by a probe right after it continues."""

import asyncio

import pytest
from structlog.testing import capture_logs

from verifier.background import BackgroundTasks
from verifier.health import MAX_LAG_SECONDS, LoopMonitor


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _tick(monitor: LoopMonitor, clock: Clock, *seconds: float) -> None:
    for passed in seconds:
        clock.now += passed
        monitor.tick()


def test_a_loop_that_ticks_in_time_is_not_stalled(clock: Clock) -> None:
    monitor = LoopMonitor(clock)
    assert not monitor.is_stalled()
    _tick(monitor, clock, 1.0, 1.5, 1.0 + MAX_LAG_SECONDS)
    assert not monitor.is_stalled()
    assert monitor.lag_seconds() == pytest.approx(MAX_LAG_SECONDS)


def test_a_loop_that_does_not_tick_is_stalled(clock: Clock) -> None:
    monitor = LoopMonitor(clock)
    _tick(monitor, clock, 1.0)
    clock.now += 1 + MAX_LAG_SECONDS + 0.1
    assert monitor.is_stalled()


def test_a_stall_is_reported_for_15_seconds(clock: Clock) -> None:
    monitor = LoopMonitor(clock)
    _tick(monitor, clock, 5.0, *[1.0] * 14)
    assert monitor.is_stalled()
    _tick(monitor, clock, 1.0)
    assert not monitor.is_stalled()


def test_a_task_that_fails_is_named_and_logged() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("bug")

    async def scene() -> list[str]:
        tasks = BackgroundTasks()
        tasks.start("good", asyncio.sleep(60))
        tasks.start("bad", fail())
        await asyncio.sleep(0.01)
        ended = tasks.ended()
        tasks.cancel()
        assert tasks.ended() == []
        await asyncio.sleep(0)
        return ended

    with capture_logs() as lines:
        assert asyncio.run(scene()) == ["bad"]
    assert [(line["event"], line["task"]) for line in lines] == [("background_task_ended", "bad")]
