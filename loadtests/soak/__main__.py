"""`make soak`: a mixed load on the one-machine stack for an hour or more, and whether anything grows.

Exit status: 0 every bound met, 1 a bound not met or no result, 2 invalid options. See loadtests/README.md.
"""

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg  # noqa: TID251 - its errors
import httpx

from loadtests import seed
from loadtests.bench import machine
from loadtests.bench.processes import ROOT, ProcessError, stop, stopped_with_us
from loadtests.charts import draw_soak
from loadtests.soak.sampling import Sample, take_sample
from loadtests.soak.verdict import all_met, evaluate, to_markdown
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
_FIRST_ROTATION: Final = 0.2  # of the time between two
_LAST_ROTATION_SECONDS: Final = 150.0  # before the end, so that the key still begins to sign


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit status."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with running_testbed(options.out, _SETTINGS) as testbed:
            samples, rotations = _load_and_sample(options, testbed)
    except (ProcessError, OSError, httpx.HTTPError, asyncpg.PostgresError) as error:
        print(f"soak: no result: {error}", file=sys.stderr)
        return 1
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
    parser.add_argument("--minutes", type=_minutes, default=60.0, help="length of the run (60)")
    parser.add_argument("--users", type=int, default=60, help="users at a time (60)")
    parser.add_argument("--think", type=float, default=2.0, help="mean pause of a user, in seconds (2)")
    parser.add_argument("--rotate-minutes", type=_minutes, default=10.0, help="time between two new keys (10)")
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
    with _locust(options, testbed) as locust:
        started = time.monotonic()
        while locust.poll() is None:
            testbed.process.ensure_alive()
            elapsed = time.monotonic() - started
            if elapsed > seconds + _SPARE_SECONDS:
                raise ProcessError("locust did not end in its time")
            due = (rotations + _FIRST_ROTATION) * options.rotate_minutes * 60
            if due < elapsed < seconds - _LAST_ROTATION_SECONDS:
                testbed.rotate_key()
                rotations += 1
            samples.append(asyncio.run(take_sample(testbed, started)))
            _print_progress(samples[-1])
            time.sleep(max(0.0, started + len(samples) * every - time.monotonic()))
    if len(samples) < _MIN_SAMPLES or not (options.out / "locust.json").exists():
        raise ProcessError(f"locust ended early: see {options.out / 'locust.log'}")
    return samples, rotations


@contextmanager
def _locust(options: argparse.Namespace, testbed: Testbed) -> Iterator[subprocess.Popen[bytes]]:
    password_file = testbed.home / "password"
    testbed.import_accounts(range(_ACCOUNTS), seed.write_password(password_file))
    results = options.out / "locust.json"
    results.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING"),
        *("-f", "loadtests/locustfile.py", "--host", testbed.url("GATEWAY_PORT")),
        *("--issuer", testbed.url("ISSUER_PORT"), "--call", "/", "--think", f"{options.think:g}"),
        *("--accounts", str(_ACCOUNTS), "--password-file", str(password_file), "--client-ips"),
        *("--users", str(options.users), "--spawn-rate", str(_ARRIVALS_A_SECOND)),
        *("--run-time", f"{options.minutes * 60:.0f}s", "--results", str(results)),
        *("--stack-pid", str(testbed.process.pid), *_USERS),
    ]
    with (options.out / "locust.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the command is written here
            stopped_with_us(command),
            cwd=ROOT,
            env=clean_environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def _print_progress(sample: Sample) -> None:
    memory = ", ".join(f"{part} {one.memory_bytes / 2**20:.0f}" for part, one in sample.parts.items())
    print(f"{sample.seconds / 60:6.1f} min  MiB: {memory}; {len(sample.keys)} keys", flush=True)


def _report(options: argparse.Namespace, samples: Sequence[Sample], rotations: int) -> int:
    """Write and print the result; return the exit status."""
    locust: dict[str, Any] = json.loads((options.out / "locust.json").read_text(encoding="utf-8"))
    findings = evaluate(samples, locust["failures"], rotations)
    about = machine.describe()
    heading = (
        f"Written by `make soak`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {about['cpu']}, {about['cores']} cores, "
        f"Linux {about['kernel']}: {samples[-1].seconds / 60:.0f} minutes, {options.users} users with pauses of "
        f"{options.think:g} s on average, access tokens of 60 s, a new key every {options.rotate_minutes:g} minutes. "
        "It measures growth; times depend on what else the machine did."
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
        "machine": about,
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
    return 0 if all_met(findings) else 1


def _minutes(text: str) -> float:
    if not 0 < float(text) <= 7 * 24 * 60:
        raise argparse.ArgumentTypeError("must be more than 0 and at most a week")
    return float(text)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
