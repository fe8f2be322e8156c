"""A sweep over numbers of users: `locust -f loadtests/locustfile.py,loadtests/sweep.py --steps 100,250,500 …`."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from loadtests.charts import draw_sweep
from loadtests.cpu_usage import LOCUST
from loadtests.recorder import RECORDER, options_of
from loadtests.scenarios import AUTH, CALL
from loadtests.sweep_steps import Step, find_knee, parse_steps


def _add_options(parser: LocustArgumentParser) -> None:
    # Not in the web interface, which would turn the numbers into text.
    add = partial(parser.add_argument, include_in_web_ui=False)
    add("--steps", type=parse_steps, default=(100, 250, 500), help="numbers of users, growing: N,N,…")
    add("--step-seconds", type=float, default=40.0, help="duration of a step, arrival included")
    add("--arrival-seconds", type=float, default=13.0, help="time in which a step's users arrive")
    add("--sweep-folder", default=".load", help="folder for the results")


class Sweep(LoadTestShape):
    """One step after the other. Locust resets its statistics when the users of a step are there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # locust has no annotation here
        self._begin()

    def _begin(self) -> None:
        self.steps: list[Step] = []
        self._index = 0
        self._failures_before = 0

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and how many arrive per second; None at the end."""
        assert self.runner is not None
        environment = self.runner.environment
        options = options_of(environment)
        elapsed: float = self.get_run_time()  # type: ignore[no-untyped-call]  # locust has no annotation here
        index = int(elapsed // options.step_seconds)
        if index < self._index:
            self._begin()  # the web interface can start another sweep
        if index > self._index:
            self._record(environment, options.steps[self._index])
            self._index = index
        if index >= len(options.steps):
            _report(environment, self.steps)
            return None
        before = options.steps[index - 1] if index else 0
        return options.steps[index], max(1.0, (options.steps[index] - before) / options.arrival_seconds)

    def _record(self, environment: Environment, users: int) -> None:
        entries = {entry.name: entry for entry in environment.stats.entries.values() if entry.num_requests}
        seconds, cpu, failures = RECORDER.seconds, RECORDER.cpu_used(), RECORDER.failures.total()
        step = Step(
            users=users,
            failures=failures - self._failures_before,
            throughput=environment.stats.total.num_requests / seconds,
            auth_p95_ms=max(
                (entries[name].get_response_time_percentile(0.95) for name in AUTH if name in entries), default=0
            ),
            call_p95_ms=entries[CALL].get_response_time_percentile(0.95) if CALL in entries else 0,
            locust_cores=cpu[LOCUST] / seconds,
            machine_cores=sum(cpu.values()) / seconds,
        )
        self.steps.append(step)
        self._failures_before = failures


def _report(environment: Environment, steps: Sequence[Step]) -> None:
    knee, figures = find_knee(steps), [asdict(step) for step in steps]
    folder = Path(options_of(environment).sweep_folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "sweep.csv").open("w", encoding="ascii", newline="") as file:
        writer = csv.DictWriter(file, figures[0])
        writer.writeheader()
        writer.writerows(figures)
    document = {"knee": asdict(knee), "steps": figures}
    (folder / "sweep.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    draw_sweep(figures, knee.users, folder / "sweep.svg")


def _set_exit_status(environment: Environment, **_: Any) -> None:
    """Set the exit status 0: a sweep goes beyond the thresholds on purpose."""
    environment.process_exit_code = 0


events.init_command_line_parser.add_listener(_add_options)
events.quitting.add_listener(_set_exit_status)
