"""`make load`, `make sweep`, `make seed`: run locust against the one-machine stack or a deployed Gatepass.

Exit status: 0 all thresholds met, 1 a threshold not met or no result, 2 invalid options. See loadtests/README.md.
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from socket import create_connection
from typing import Any, Final
from urllib.parse import urlsplit

from loadtests import seed
from loadtests.bench import machine
from loadtests.bench.processes import ROOT, ProcessError, stop, stopped_with_us
from loadtests.scenarios import SCENARIOS, Scenario
from loadtests.sweep_steps import parse_steps
from loadtests.testbed import ROTATION_SETTINGS, clean_environment, running_testbed
from shared.command_line import add_version, help_with_example

SEEDED_ACCOUNTS: Final = 10_000
SWEEP_STEPS: Final = "100,250,500,750,1000,1250,1500,1750,2000"
SWEEP_THINK_SECONDS: Final = 2.0  # shorter than a person's, so that the knee lies within the steps
PUBLISHED: Final = ROOT / "specs/004-load-gateways-operation"
INVALID: Final = 2
INTERRUPTED: Final = 130
_CONNECT_SECONDS: Final = 5.0
_SPARE_SECONDS: Final = 90.0
_DESCRIPTORS_PER_USER: Final = 2
_OTHER_DESCRIPTORS: Final = 512
_MIN_THINK_SECONDS: Final = 0.01
_MAX_THINK_SECONDS: Final = 600.0


class OptionError(Exception):
    """A combination of options that cannot be run. The message is one line: what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a run: base URLs, the file with the accounts' password, and the process id of our own stack."""

    gateway: str
    issuer: str
    password_file: Path
    stack_pid: int | None


def main(arguments: Sequence[str]) -> int:
    """Run a command and return the exit status."""
    options, locust_options = _parser().parse_known_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        return int(options.command(options, locust_options))
    except OptionError as error:
        print(f"load: {error}", file=sys.stderr)
        return INVALID
    except (ProcessError, OSError) as error:
        print(f"load: no result: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("load: interrupted; everything that was started is stopped", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests",
        allow_abbrev=False,
        **help_with_example(
            "Run locust against the one-machine stack or a deployed Gatepass.\n"
            "Exit status: 0 all thresholds met, 1 a threshold not met or no result, 2 invalid options",
            "load --users 100 --duration 30",
        ),
    )
    commands = parser.add_subparsers(required=True, metavar="load|sweep|seed")
    load = _add(commands, "load", "one number of users, with thresholds", "--users 1000 --duration 3m")
    load.add_argument("--users", type=_between(1, 20_000), default=1000, help="users at a time (1000)")
    load.add_argument("--duration", type=_seconds, default=180.0, help="of everything, such as 180 or 3m (180)")
    load.set_defaults(command=_load)
    sweep = _add(commands, "sweep", "growing numbers of users, and the knee", "--steps 100,500,1000 --duration 3m")
    sweep.add_argument("--steps", type=_steps, default=SWEEP_STEPS, help=f"users at a time ({SWEEP_STEPS})")
    sweep.add_argument("--duration", type=_seconds, default=360.0, help="of all steps together (360)")
    sweep.set_defaults(command=_sweep)
    for command in (load, sweep):
        command.add_argument("--ramp", type=_seconds, help="time in which the users arrive (a third)")
        command.add_argument("--think", type=_think, help="mean pause between two steps of a user, in seconds")
        command.add_argument("--scenario", choices=SCENARIOS, default="typical", help=", ".join(SCENARIOS))
        command.add_argument("--host", type=_url, help="base URL of a deployed gateway; then nothing is started")
        command.add_argument("--issuer", type=_url, help="base URL of its issuer (the host)")
        command.add_argument("--accounts", type=_between(0, 1_000_000), help="seeded ones (10,000; 0 with a host)")
        command.add_argument("--call", type=_path, default="/", help="path to call through the gateway (/)")
        command.add_argument("--publish", action="store_true", help="also write the result into specs/004")
    make_seed = _add(commands, "seed", "accounts for a deployed issuer", "--accounts 10000")
    make_seed.add_argument("--accounts", type=_between(1, 1_000_000), default=SEEDED_ACCOUNTS, help="how many")
    make_seed.set_defaults(command=_seed)
    for command in (load, sweep, make_seed):
        command.add_argument("--out", type=Path, default=ROOT / ".load", help="folder for results (.load)")
    add_version(parser)
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=summary, allow_abbrev=False, **help_with_example(summary, example))


def _load(options: argparse.Namespace, locust_options: list[str]) -> int:
    scenario = SCENARIOS[options.scenario]
    ramp = options.ramp if options.ramp is not None else options.duration / 3
    if not 0 < ramp < options.duration:
        raise OptionError("the ramp must be shorter than the duration")
    if options.duration < scenario.min_seconds:
        raise OptionError(f"the scenario {options.scenario} takes at least {scenario.min_seconds:g} s")
    _raise_descriptor_limit(options.users)
    results = options.out / "load.json"
    results.unlink(missing_ok=True)
    with _target(options, scenario) as target:
        command = [
            *_locust(options, target, scenario, "loadtests/locustfile.py"),
            *("--users", str(options.users), "--spawn-rate", f"{options.users / ramp:.3f}"),
            *("--run-time", f"{options.duration:.0f}s", "--results", str(results)),
            *("--scenario", options.scenario, "--reset-stats"),
            *locust_options,
            scenario.user,
        ]
        status = _run(command, options.duration)
    if not results.exists():
        raise ProcessError("locust ended before all users were there")
    if options.publish:
        _publish_load(options, json.loads(results.read_text(encoding="utf-8")))
    return status


def _sweep(options: argparse.Namespace, locust_options: list[str]) -> int:
    scenario = SCENARIOS[options.scenario]
    steps = parse_steps(options.steps)
    seconds = options.duration / len(steps)
    ramp = options.ramp if options.ramp is not None else seconds / 3
    if not 0 < ramp < seconds:
        raise OptionError("the ramp must be shorter than a step")
    if options.think is None:
        options.think = SWEEP_THINK_SECONDS
    _raise_descriptor_limit(max(steps))
    with _target(options, scenario) as target:
        command = [
            *_locust(options, target, scenario, "loadtests/locustfile.py,loadtests/sweep.py"),
            *("--steps", options.steps, "--step-seconds", f"{seconds:g}", "--arrival-seconds", f"{ramp:g}"),
            *("--sweep-folder", str(options.out), "--reset-stats"),
            *locust_options,
            scenario.user,
        ]
        status = _run(command, options.duration)
    if options.publish and not status:
        _publish_sweep(options)
    return status


def _seed(options: argparse.Namespace, _: list[str]) -> int:
    password, accounts = options.out / "password", options.out / "accounts.jsonl"
    seed.write_accounts(range(options.accounts), seed.write_password(password), accounts)
    print(f"{options.accounts:,} accounts with one password, hashed once: {accounts}; the password: {password}")
    print("on the issuer's machine: python -m issuer users import - < accounts.jsonl")
    print(f"then here: make load HOST=https://app.example.com ACCOUNTS={options.accounts}")
    return 0


@contextmanager
def _target(options: argparse.Namespace, scenario: Scenario) -> Iterator[Target]:
    if options.host is not None:
        yield _deployed(options)
        return
    if options.issuer is not None:
        raise OptionError("ISSUER names the issuer of a HOST: name both, or neither")
    options.accounts = SEEDED_ACCOUNTS if options.accounts is None else options.accounts
    print("load: starting the one-machine stack on free ports", flush=True)
    with running_testbed(options.out, ROTATION_SETTINGS if scenario.rotates_key else None) as testbed:
        password_file = testbed.home / "password"
        password = seed.write_password(password_file)
        if options.accounts:
            print(f"load: seeding {options.accounts:,} accounts: one password, hashed once", flush=True)
            testbed.import_accounts(range(options.accounts), password)
        if scenario.rotates_key:
            testbed.rotate_key()
        yield Target(testbed.url("GATEWAY_PORT"), testbed.url("ISSUER_PORT"), password_file, testbed.process.pid)


def _deployed(options: argparse.Namespace) -> Target:
    if options.publish:
        raise OptionError("--publish needs the one-machine stack: leave HOST out")
    options.issuer, options.accounts = options.issuer or options.host, options.accounts or 0
    for url in (options.host, options.issuer):
        _check_reachable(url)
    password_file = options.out / "password"
    if options.accounts and not password_file.exists():
        raise OptionError(f"seed the accounts first: make seed ACCOUNTS={options.accounts}")
    if not options.accounts:
        password_file = options.out / "password-of-registrations"
        seed.write_password(password_file)
    return Target(options.host, options.issuer, password_file, None)


def _locust(options: argparse.Namespace, target: Target, scenario: Scenario, files: str) -> list[str]:
    think = options.think if options.think is not None else scenario.think_seconds
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING"]
    command += ["-f", files, "--host", target.gateway, "--issuer", target.issuer, "--call", options.call]
    command += ["--think", f"{think:g}", "--accounts", str(options.accounts)]
    command += ["--password-file", str(target.password_file)]
    command += ["--html", str(options.out / "report.html"), "--csv", str(options.out / "requests")]
    if target.stack_pid is not None:
        command += ["--stack-pid", str(target.stack_pid), "--client-ips"]
    return command


def _run(command: list[str], seconds: float) -> int:
    """Run locust to its end. It patches the process that imports it, so it gets one of its own."""
    process = subprocess.Popen(  # noqa: S603 - the command is written here
        stopped_with_us(command),
        cwd=ROOT,
        env=clean_environment({"PYTHONUNBUFFERED": "1"}),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds + _SPARE_SECONDS)
    except subprocess.TimeoutExpired:
        raise ProcessError("locust did not end in its time") from None
    finally:
        stop(process)


def _publish_load(options: argparse.Namespace, document: dict[str, Any]) -> None:
    (PUBLISHED / "load.md").write_text(
        f"# A load run\n\n{_heading('load')}\n\n{options.users:,} users, scenario {options.scenario}, "
        f"{options.duration:.0f} s; {options.accounts:,} accounts with one password and one hash.\n\n"
        f"{document['table']}\n\n{document['cpu']}\n",
        encoding="utf-8",
    )


def _publish_sweep(options: argparse.Namespace) -> None:
    document = json.loads((options.out / "sweep.json").read_text(encoding="utf-8"))
    names = list(document["steps"][0])
    rows = ["| " + " | ".join(f"{step[name]:g}" for name in names) + " |" for step in document["steps"]]
    table = "\n".join(["| " + " | ".join(names) + " |", "| " + " | ".join("---:" for _ in names) + " |", *rows])
    knee = document["knee"]
    users = "no knee" if knee["users"] is None else f"knee: {knee['users']:,} users"
    for name in ("sweep.csv", "sweep.svg"):
        (PUBLISHED / name).write_bytes((options.out / name).read_bytes())
    (PUBLISHED / "sweep.md").write_text(
        f"# A capacity sweep\n\n{_heading('sweep')}\n\n![Throughput and p95](sweep.svg)\n\n{table}\n\n"
        f"**{users}; {knee['reason']}**\n",
        encoding="utf-8",
    )


def _heading(command: str) -> str:
    about = machine.describe()
    return (
        f"Written by `make {command} LOAD_ARGS=--publish`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on "
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}."
    )


def _check_reachable(url: str) -> None:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    try:
        create_connection((parts.hostname or "", port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise OptionError(
            f"{url} cannot be reached ({error.strerror or error}): is it up, and is the name right?"
        ) from None


def _raise_descriptor_limit(users: int) -> None:
    """Raise the soft limit, which locust and the stack inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _DESCRIPTORS_PER_USER * users + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise OptionError(
            f"{users} users need {needed} file descriptors and the limit is {hard}: "
            f"raise it (ulimit -Hn {needed}) or take fewer users"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    seconds = float(text.rstrip("smh")) * (unit or 1)
    if not 0 < seconds <= 4 * 3600:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 4h")
    return seconds


def _think(text: str) -> float:
    if not _MIN_THINK_SECONDS <= float(text) <= _MAX_THINK_SECONDS:
        raise argparse.ArgumentTypeError(f"must be {_MIN_THINK_SECONDS:g} to {_MAX_THINK_SECONDS:g}")
    return float(text)


def _steps(text: str) -> str:
    try:
        parse_steps(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"} or parts.username:
        raise argparse.ArgumentTypeError("must be http://HOST[:PORT] or https://HOST[:PORT]")
    return text.rstrip("/")


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError("must begin with /")
    return text


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
