"""Runs locust, headless and in a process of its own, since it patches whatever process imports it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from loadtests.benchmark.processes import ROOT, ProcessError, bound_to_us, stop
from loadtests.journeys import plan as plans
from loadtests.journeys.plan import Plan

_SPARE_SECONDS: Final = 90.0


def play(plan: Plan, out: Path) -> dict[str, Any]:
    """Let locust carry out `plan`; the figures as `recorder` documents them. Progress goes to our own output.

    Raises:
        ProcessError: locust failed.
    """
    plan_file, log = out / "plan.json", out / "locust.log"
    plan.write(plan_file)
    Path(plan.result).unlink(missing_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - written here
            bound_to_us(_command(plan, out)),
            cwd=ROOT,
            env=_environment(plan_file),
            stdin=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        status = process.wait(plan.step_seconds * len(plan.steps) + _SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        raise ProcessError(f"locust did not end in its time: see {log}") from None
    finally:
        stop(process)
    if status or not Path(plan.result).exists():
        raise ProcessError(f"locust ended with {_how(status)} and no figures: see {log}")
    figures: dict[str, Any] = json.loads(Path(plan.result).read_text(encoding="utf-8"))
    return figures


def _command(plan: Plan, out: Path) -> list[str]:
    options = {
        "--locustfile": str(Path(__file__).with_name("locustfile.py")),
        "--host": plan.host,
        "--csv": str(out / "requests"),
        "--html": str(out / "report.html"),
        "--exit-code-on-error": "0",
    }
    if len(plan.steps) == 1:
        (users,) = plan.steps
        options |= {
            "--users": str(users),
            "--spawn-rate": f"{users / plan.ramp:.3f}",
            "--run-time": f"{plan.step_seconds:.0f}s",
        }
    words = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "locust", "--headless", "--only-summary", *words]


def _environment(plan_file: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    # A proxy of the environment is another host than the one that was named.
    own = {name: value for name, value in own.items() if not name.lower().endswith("_proxy")}
    return own | {plans.VARIABLE: str(plan_file), "PYTHONUNBUFFERED": "1"}


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}"
