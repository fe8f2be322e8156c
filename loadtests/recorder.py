"""Event listeners for locust: options, progress, figures that its statistics lack, and the thresholds at the end.

Locust resets its statistics when all users are there (`--reset-stats`), but failures are counted from the start.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

import gevent
from gevent.pool import Group
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner
from locust.user.task import filter_tasks_by_tags

from loadtests.cpu_usage import cpu_seconds
from loadtests.scenarios import NO_SCENARIO, SCENARIOS
from loadtests.thresholds import all_met, evaluate, to_markdown

_PROGRESS_SECONDS: Final = 5.0


class Recorder:
    """Figures that locust's statistics lack: failures during the ramp, signing keys, processor time."""

    def __init__(self) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        self.kids: set[str] = set()
        self.stack_pid: int | None = None
        self._measuring_since = time.monotonic()
        self._cpu_before: dict[str, float] = {}

    def start(self, stack_pid: int | None) -> None:
        """Begin a run. The web interface starts several, and each has its own figures."""
        self.stack_pid = stack_pid
        self.failures.clear()
        self.kids.clear()
        self.start_measuring()

    @property
    def seconds(self) -> float:
        """Return the seconds since measuring started."""
        return time.monotonic() - self._measuring_since

    def start_measuring(self, **_: Any) -> None:
        """Restart the clock and the processor time: all users are there."""
        self._measuring_since = time.monotonic()
        self._cpu_before = cpu_seconds(self.stack_pid)

    def cpu_used(self) -> dict[str, float]:
        """Return core-seconds by part since measuring started, at least 0: a process may have ended meanwhile."""
        now = cpu_seconds(self.stack_pid)
        return {part: max(0.0, seconds - self._cpu_before.get(part, 0.0)) for part, seconds in now.items()}

    def count_failure(self, name: str, exception: BaseException | None, **_: Any) -> None:
        """Count a wrong response by operation and failure."""
        if exception is not None:
            self.failures[name, str(exception)] += 1

    def report(self, data: dict[str, Any], **_: Any) -> None:
        """Move the figures of a worker process into its report."""
        data["failures"] = [(*failure, count) for failure, count in self.failures.items()]
        data["kids"] = list(self.kids)
        self.failures.clear()
        self.kids.clear()

    def collect(self, data: dict[str, Any], **_: Any) -> None:
        """Add the figures in the report of a worker process."""
        for name, what, count in data["failures"]:
            self.failures[name, what] += count
        self.kids.update(data["kids"])


RECORDER: Final = Recorder()
_PROGRESS: Final = Group()  # prints the lines of progress; empty between two runs


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--issuer", default="http://127.0.0.1:8000", help="base URL of the issuer")
    parser.add_argument("--call", default="/hello", help="path to call through the gateway")
    parser.add_argument("--think", type=float, default=5.0, help="mean pause between two steps of a user, in seconds")
    parser.add_argument("--accounts", type=int, default=0, help="seeded accounts; with 0 each user registers")
    parser.add_argument(
        "--password-file", type=_existing, include_in_web_ui=False, help="password of the seeded accounts"
    )
    # Not in the web interface: it would choose the first one instead of none.
    parser.add_argument(
        "--scenario",
        choices=SCENARIOS,
        include_in_web_ui=False,
        help="what must have been measured; by default nothing",
    )
    parser.add_argument("--client-ips", action="store_true", help="give each user an X-Forwarded-For of its own")
    parser.add_argument("--stack-pid", type=int, include_in_web_ui=False, help="measure processor time of this stack")
    parser.add_argument("--results", include_in_web_ui=False, help="file for the results, as JSON")


def _existing(file: str) -> str:
    # Not a Path, which locust could not send to its worker processes.
    if not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"{file} is not a file")
    return file


def _prepare(environment: Environment, **_: Any) -> None:
    """Reject options that cannot be combined, and leave out users whose tasks all have other tags.

    Locust would start such users and log an error for each of their steps.
    """
    options = options_of(environment)
    if options.accounts and options.password_file is None:
        _reject("--accounts needs --password-file: the seeded accounts have its password (make seed)")
    for user in environment.user_classes:
        filter_tasks_by_tags(user, set(options.tags or ()) or None, set(options.exclude_tags or ()) or None)
    environment.user_classes = [user for user in environment.user_classes if user.tasks]
    if not environment.user_classes:
        _reject("no task has these tags: see `@tag` in loadtests/locustfile.py")


def _start(environment: Environment, **_: Any) -> None:
    RECORDER.start(options_of(environment).stack_pid)
    if not isinstance(environment.runner, WorkerRunner):
        _PROGRESS.spawn(_print_progress, environment)


def _apply_thresholds(environment: Environment, **_: Any) -> None:
    """Print and write the results while the stack still runs, and set locust's exit status."""
    if isinstance(environment.runner, WorkerRunner):
        return  # the master has the figures of all
    _PROGRESS.kill()
    options, failures = options_of(environment), RECORDER.failures.total()
    operations = {entry.name: entry for entry in environment.stats.entries.values()}
    results = evaluate(operations, failures, len(RECORDER.kids), SCENARIOS.get(options.scenario, NO_SCENARIO))
    environment.process_exit_code = 0 if all_met(results) else 1
    table, cpu = to_markdown(results, RECORDER.seconds), _describe(RECORDER.cpu_used())
    counts = [(*failure, count) for failure, count in RECORDER.failures.most_common()]
    _print("", table, "", cpu, *(f"failure: {count:,} x {name}: {what}" for name, what, count in counts[:20]))
    if options.results is not None:
        document = {"results": [asdict(one) for one in results], "table": table, "cpu": cpu, "failures": counts}
        Path(options.results).write_text(json.dumps(document, indent=1), encoding="utf-8")


def options_of(environment: Environment) -> argparse.Namespace:
    """Return the parsed command line; locust sets it before it starts a test."""
    options = environment.parsed_options
    assert isinstance(options, argparse.Namespace)
    return options


def _describe(cpu: dict[str, float]) -> str:
    parts = sorted(cpu.items(), key=lambda item: -item[1])
    return "core-seconds used: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts)


def _print_progress(environment: Environment) -> None:
    started, runner = time.monotonic(), environment.runner
    assert runner is not None
    while True:
        gevent.sleep(_PROGRESS_SECONDS)
        total = environment.stats.total
        elapsed = int(time.monotonic() - started)
        p95 = total.get_current_response_time_percentile(0.95) or 0
        _print(
            f"{elapsed // 60}:{elapsed % 60:02} {runner.user_count:>6} users {total.current_rps:>7,.0f}/s"
            f"  p95 {p95:,.0f} ms  failures {RECORDER.failures.total()}"
        )


def _reject(message: str) -> NoReturn:
    print(f"locust: error: {message}", file=sys.stderr)  # noqa: T201 - output of a command line
    sys.exit(2)


def _print(*lines: str) -> None:
    print("\n".join(lines), flush=True)  # noqa: T201 - output of a command line


events.init_command_line_parser.add_listener(_add_options)
events.init.add_listener(_prepare)
events.report_to_master.add_listener(RECORDER.report)
events.request.add_listener(RECORDER.count_failure)
events.spawning_complete.add_listener(RECORDER.start_measuring)
events.test_start.add_listener(_start)
events.test_stopping.add_listener(_apply_thresholds)
events.worker_report.add_listener(RECORDER.collect)
