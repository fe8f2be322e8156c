"""`make soak`: a mixed load on the one-machine stack for an hour or more, and a report of what grows.

Exit status: 0 every bound met, 1 a bound not met or no result, 2 invalid options. See loadtests/README.md.
"""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from loadtests import machine
from loadtests.charts import draw_soak
from loadtests.command import between, exit_status, progress
from loadtests.processes import ROOT, ProcessError, running
from loadtests.soak.sampling import Sample, take_sample
from loadtests.soak.verdict import evaluate, to_markdown
from loadtests.testbed import ROTATION_SETTINGS, Testbed, clean_environment, running_testbed
from shared.command_line import add_version, help_with_example

PUBLISHED: Final = ROOT / "docs/operations"
# The shortest lifetime of access tokens, so that an hour sees sixty generations of them.
_SETTINGS: Final = ROTATION_SETTINGS | {"ISSUER_ACCESS_TOKEN_SECONDS": "60"}
_USERS: Final = ("TypicalUser", "SteadyCaller", "InvalidTokenCaller", "RevocationUser")
_ACCOUNTS: Final = 1000
_ARRIVALS_A_SECOND: Final = 5
_SAMPLES: Final = 240
_MIN_SAMPLES: Final = 4
_MIN_SAMPLE_SECONDS: Final = 2.0
_SPARE_SECONDS: Final = 60.0
_WEEK: Final = 7 * 24 * 60  # minutes
_FIRST_ROTATION: Final = 0.2  # of the time between two
_LAST_ROTATION_SECONDS: Final = 150.0  # before the end, so that the key still begins to sign


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit status."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with running_testbed(options.out, _SETTINGS) as testbed:
        samples, rotations = _load_and_sample(options, testbed)
    return _report(options, samples, rotations)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.soak",
        allow_abbrev=False,
        **help_with_example(
            "Load the one-machine stack for an hour or more and report what grows.\n"
            "Exit status: 0 every bound met, 1 a bound not met or no result, 2 invalid options",
            "--minutes 60",
        ),
    )
    parser.add_argument("--minutes", type=between(0.01, _WEEK, float), default=60.0, help="length of the run (60)")
    parser.add_argument("--users", type=int, default=60, help="users at a time (60)")
    parser.add_argument("--think", type=float, default=2.0, help="mean pause of a user, in seconds (2)")
    parser.add_argument(
        "--rotate-minutes", type=between(0.01, _WEEK, float), default=10.0, help="time between two new keys (10)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / ".soak", help="folder for results (.soak)")
    parser.add_argument("--publish", action="store_true", help="also write the result into docs/operations")
    add_version(parser)
    return parser


def _load_and_sample(options: argparse.Namespace, testbed: Testbed) -> tuple[list[Sample], int]:
    """Run locust to its end; return the samples and the number of keys that were created during the run."""
    seconds = options.minutes * 60
    every = max(_MIN_SAMPLE_SECONDS, seconds / _SAMPLES)
    samples: list[Sample] = []
    rotations = 0
    results = options.out / "locust.json"
    results.unlink(missing_ok=True)
    command = testbed.seeded(_ACCOUNTS).locust_command("loadtests/locustfile.py", "/", options.think)
    command += ["--users", str(options.users), "--spawn-rate", str(_ARRIVALS_A_SECOND)]
    command += ["--run-time", f"{seconds:.0f}s", "--results", str(results), *_USERS]
    with running(command, environment=clean_environment(), log=options.out / "locust.log") as locust:
        started, report = time.monotonic(), progress()
        while locust.process.poll() is None:
            testbed.process.ensure_alive()
            elapsed = time.monotonic() - started
            if elapsed > seconds + _SPARE_SECONDS:
                raise ProcessError("locust did not end in its time")
            due = (rotations + _FIRST_ROTATION) * options.rotate_minutes * 60
            if due < elapsed < seconds - _LAST_ROTATION_SECONDS:
                testbed.run_issuer("keys", "rotate")
                rotations += 1
            samples.append(asyncio.run(take_sample(testbed, started)))
            memory = (f"{part} {one.memory_bytes / 2**20:.0f}" for part, one in samples[-1].parts.items())
            report(f"MiB: {', '.join(memory)}; {len(samples[-1].keys)} keys")
            time.sleep(max(0.0, started + len(samples) * every - time.monotonic()))
    if len(samples) < _MIN_SAMPLES or not results.exists():
        raise ProcessError(f"locust ended early: see {options.out / 'locust.log'}")
    return samples, rotations


def _report(options: argparse.Namespace, samples: Sequence[Sample], rotations: int) -> int:
    """Write and print the result; return the exit status."""
    locust: dict[str, Any] = json.loads((options.out / "locust.json").read_text(encoding="utf-8"))
    findings = evaluate(samples, locust["failures"], rotations)
    heading = (
        f"{machine.written_by('make soak')}: {samples[-1].seconds / 60:.0f} minutes, {options.users} users with "
        f"pauses of {options.think:g} s on average, access tokens of 60 s, a new key every "
        f"{options.rotate_minutes:g} minutes. It measures growth; times depend on what else the machine did."
    )
    responses = ", ".join(f"{row['name']} {row['count']:,}" for row in locust["results"] if row["p50"] is not None)
    sections = [
        heading,
        "![Growth of processes, tables, status lists and keys](soak.svg)",
        to_markdown(findings),
        f"Responses: {responses}.",
        f"Processor time: {locust['cpu']}.",
    ]
    document = {
        "machine": machine.describe(),
        "findings": [asdict(finding) for finding in findings],
        "locust": locust,
        "samples": [asdict(sample) for sample in samples],
    }
    (options.out / "soak.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    (options.out / "soak.md").write_text("# A soak run\n\n" + "\n\n".join(sections) + "\n", encoding="utf-8")
    draw_soak(samples, options.out / "soak.svg")
    if options.publish:
        for name in ("soak.md", "soak.svg"):
            shutil.copy(options.out / name, PUBLISHED / name)
    print("\n\n".join(sections))
    return 1 if any(one.met is False for one in findings) else 0


if __name__ == "__main__":
    sys.exit(exit_status("soak", lambda: main(sys.argv[1:])))
