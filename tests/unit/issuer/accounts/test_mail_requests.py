"""The time of a response to a request about an email does not depend on its statement. ADR 0041."""

import asyncio
import math
import selectors
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from issuer.accounts.mail_requests import MIN_RESPONSE_SECONDS, pad_to_minimum


class _Clock(selectors.DefaultSelector):
    """A clock that waits like epoll: until the next event, or for whole milliseconds from the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.event: tuple[float, Callable[[], object]] | None = None

    def now(self) -> float:
        return self.seconds

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []
        timer = math.inf if timeout is None else self.seconds + math.ceil(timeout * 1000) / 1000
        if self.event is not None and self.event[0] <= timer:
            self.seconds, arrived = self.event
            self.event = None
            arrived()
        else:
            assert timer < math.inf, "nothing is scheduled: the test would wait forever"
            self.seconds = timer
        return []


class _Loop(asyncio.SelectorEventLoop):
    """An event loop with epoll's timers. Work for a thread is done at once."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        super().__init__(clock)

    def time(self) -> float:
        return self._clock.seconds

    def run_in_executor(self, _: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override] # narrower
        done = self.create_future()
        done.set_result(func(*args))
        return done


def response_seconds(work_seconds: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the time of the response, if the statement takes `work_seconds`."""
    clock = _Clock()

    def sleep(seconds: float) -> None:
        clock.seconds += seconds

    async def respond() -> float:
        ended = asyncio.Event()
        clock.event = work_seconds, ended.set
        await pad_to_minimum(ended.wait())
        return clock.seconds

    with monkeypatch.context() as patched, asyncio.Runner(loop_factory=lambda: _Loop(clock)) as runner:
        patched.setattr("issuer.accounts.mail_requests.time", SimpleNamespace(monotonic=clock.now, sleep=sleep))
        return runner.run(respond())


def test_the_time_of_the_response_does_not_depend_on_the_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {round(response_seconds(0.005 + tenth / 10_000, monkeypatch), 9) for tenth in range(100)}
    assert times == {MIN_RESPONSE_SECONDS}


def test_a_statement_that_takes_longer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert response_seconds(0.25, monkeypatch) == pytest.approx(0.25)
