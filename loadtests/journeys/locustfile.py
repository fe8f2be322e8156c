"""What locust loads: the users of the plan, and who counts, tells of progress and divides the run into phases."""

import json
import time
from pathlib import Path
from typing import Any, Final

import gevent
from locust import LoadTestShape, events

from loadtests.journeys import users
from loadtests.journeys.kinds import CALL, REFUSED_CALL, UNTIL_REFUSED
from loadtests.journeys.recorder import ramp_to
from loadtests.journeys.users import PLAN, RECORDER

_TOLD_SECONDS: Final = 5.0
_TOLD: Final = ("login", CALL, REFUSED_CALL, UNTIL_REFUSED)

Played: Final = getattr(users, PLAN.user)
"""The one user class that is a name of this module, which is what locust looks for."""


class Steps(LoadTestShape):
    """Users by time: each step begins with a ramp, in which it reaches its number before it is measured."""

    abstract = len(PLAN.steps) == 1

    def tick(self) -> tuple[int, float] | None:
        """Users and how many come a second; None at the end."""
        elapsed: float = self.get_run_time()  # type: ignore[no-untyped-call]  # locust left it so
        step, into = divmod(elapsed, PLAN.step_seconds)
        if step >= len(PLAN.steps):
            return None
        users_now = PLAN.steps[int(step)]
        before = PLAN.steps[int(step) - 1] if step else 0
        RECORDER.enter(str(users_now) if into >= PLAN.ramp else ramp_to(users_now))
        return users_now, max(1.0, (users_now - before) / PLAN.ramp * 1.1)


def _note(name: str, response_time: float, exception: BaseException | None, **_: Any) -> None:
    RECORDER.note(name, response_time, None if exception is None else str(exception))


def _all_are_here(user_count: int, **_: Any) -> None:
    if len(PLAN.steps) == 1:
        RECORDER.enter(str(user_count))


def _begin(environment: Any, **_: Any) -> None:
    gevent.spawn(_tell, environment, time.monotonic())


def _stop_measuring(**_: Any) -> None:
    RECORDER.leave()


def _end(**_: Any) -> None:
    Path(PLAN.result).write_text(json.dumps(RECORDER.document(), indent=1), encoding="utf-8")


def _tell(environment: Any, begun: float) -> None:
    total = PLAN.step_seconds * len(PLAN.steps)
    while True:
        gevent.sleep(_TOLD_SECONDS)
        elapsed = time.monotonic() - begun
        users_now = environment.runner.user_count
        line = f"{_clock(elapsed)} of {_clock(total)}  {users_now:>5} users {RECORDER.progress(_TOLD)}"
        print(line, flush=True)  # noqa: T201 - progress of a command line


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _listen() -> None:
    RECORDER.enter(ramp_to(PLAN.steps[0]))
    events.request.add_listener(_note)
    events.spawning_complete.add_listener(_all_are_here)
    events.test_start.add_listener(_begin)
    events.test_stop.add_listener(_stop_measuring)
    events.quitting.add_listener(_end)


_listen()
