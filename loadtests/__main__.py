"""`make load`, `make sweep`, `make seed`: run locust against the one-machine stack or a deployed Gatepass.

Exit status: 0 all thresholds met, 1 a threshold not met or no result, 2 invalid options. See loadtests/README.md.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection
from typing import Any, Final
from urllib.parse import urlsplit

from loadtests import machine, seed
from loadtests.command import between, exit_status
from loadtests.processes import ROOT, CannotStartError, ProcessError, raise_descriptor_limit, running
from loadtests.scenarios import SCENARIOS, Scenario
from loadtests.sweep_steps import parse_steps
from loadtests.tables import table
from loadtests.testbed import ROTATION_SETTINGS, LoadTarget, clean_environment, running_testbed
from shared.command_line import add_version, help_with_example

SEEDED_ACCOUNTS: Final = 10_000
SWEEP_STEPS: Final = "100,250,500,750,1000,1250,1500,1750,2000"
SWEEP_THINK_SECONDS: Final = 2.0  # shorter than the pauses of people, so that the knee lies within the steps
PUBLISHED: Final = ROOT / "specs/004-load-gateways-operation"
_CONNECT_SECONDS: Final = 5.0
_SPARE_SECONDS: Final = 90.0
_DESCRIPTORS_PER_USER: Final = 2
_OTHER_DESCRIPTORS: Final = 512


def main(arguments: Sequence[str]) -> int:
    """Run a command and return the exit status."""
    options, locust_options = _parser().parse_known_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    return int(options.command(options, locust_options))


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
    load.add_argument("--users", type=between(1, 20_000), default=1000, help="users at a time (1000)")
    load.add_argument("--duration", type=_seconds, default=180.0, help="of the whole run, such as 180 or 3m (180)")
    load.set_defaults(command=_load)
    sweep = _add(commands, "sweep", "growing numbers of users, and the knee", "--steps 100,500,1000 --duration 3m")
    sweep.add_argument("--steps", type=parse_steps, default=SWEEP_STEPS, help=f"users at a time ({SWEEP_STEPS})")
    sweep.add_argument("--duration", type=_seconds, default=360.0, help="of all steps together (360)")
    sweep.set_defaults(command=_sweep)
    for command in (load, sweep):
        command.add_argument("--ramp", type=_seconds, help="time for the arrival of the users (a third)")
        command.add_argument(
            "--think", type=between(0.01, 600, float), help="mean pause between two steps of a user, in seconds"
        )
        command.add_argument("--scenario", choices=SCENARIOS, default="typical", help=", ".join(SCENARIOS))
        command.add_argument("--host", type=_url, help="base URL of a deployed gateway; then nothing is started")
        command.add_argument("--issuer", type=_url, help="base URL of its issuer (the host)")
        command.add_argument("--accounts", type=between(0, 1_000_000), help="seeded accounts (10,000; 0 with a host)")
        command.add_argument("--call", type=_path, default="/", help="path to call through the gateway (/)")
        command.add_argument("--publish", action="store_true", help="also write the result into specs/004")
    make_seed = _add(commands, "seed", "accounts for a deployed issuer", "--accounts 10000")
    make_seed.add_argument("--accounts", type=between(1, 1_000_000), default=SEEDED_ACCOUNTS, help="how many")
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
    if options.duration < scenario.min_seconds:
        raise CannotStartError(f"the scenario {options.scenario} takes at least {scenario.min_seconds:g} s")
    ramp = _ramp(options, options.duration, "the duration")
    results = options.out / "load.json"
    results.unlink(missing_ok=True)
    users = ("--users", str(options.users), "--spawn-rate", f"{options.users / ramp:.3f}")
    command = [*users, "--run-time", f"{options.duration:.0f}s", "--results", str(results)]
    command += ["--scenario", options.scenario, *locust_options]
    accounts, status = _run_locust(options, "loadtests/locustfile.py", command, options.users)
    if not results.exists():
        raise ProcessError("locust ended before all users were there")
    if options.publish:
        _publish_load(options, accounts, json.loads(results.read_text(encoding="utf-8")))
    return status


def _sweep(options: argparse.Namespace, locust_options: list[str]) -> int:
    seconds = options.duration / len(options.steps)
    ramp = _ramp(options, seconds, "a step")
    if options.think is None:
        options.think = SWEEP_THINK_SECONDS
    command = ["--steps", ",".join(map(str, options.steps)), "--step-seconds", f"{seconds:g}"]
    command += ["--arrival-seconds", f"{ramp:g}", "--sweep-folder", str(options.out), *locust_options]
    _, status = _run_locust(options, "loadtests/locustfile.py,loadtests/sweep.py", command, max(options.steps))
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


def _ramp(options: argparse.Namespace, seconds: float, what: str) -> float:
    ramp: float = seconds / 3 if options.ramp is None else options.ramp
    if not 0 < ramp < seconds:
        raise CannotStartError(f"the ramp must be shorter than {what}")
    return ramp


def _run_locust(options: argparse.Namespace, files: str, more: list[str], users: int) -> tuple[int, int]:
    """Run locust to its end; return the number of seeded accounts, and its exit status.

    Locust patches the process that imports it, so it gets a process of its own.
    """
    scenario = SCENARIOS[options.scenario]
    think = scenario.think_seconds if options.think is None else options.think
    _raise_descriptor_limit(users)
    with _target(options, scenario) as target:
        command = target.locust_command(files, options.call, think)
        command += ["--html", str(options.out / "report.html"), "--csv", str(options.out / "requests")]
        command += ["--reset-stats", *more, scenario.user]
        with running(command, environment=clean_environment({"PYTHONUNBUFFERED": "1"})) as locust:
            try:
                return target.accounts, locust.process.wait(options.duration + _SPARE_SECONDS)
            except subprocess.TimeoutExpired:
                raise ProcessError("locust did not end in its time") from None


@contextmanager
def _target(options: argparse.Namespace, scenario: Scenario) -> Iterator[LoadTarget]:
    if options.host is not None:
        yield _deployed(options)
        return
    if options.issuer is not None:
        raise CannotStartError("ISSUER names the issuer of a HOST: name both, or neither")
    accounts = SEEDED_ACCOUNTS if options.accounts is None else options.accounts
    print("load: starting the one-machine stack on free ports", flush=True)
    with running_testbed(options.out, ROTATION_SETTINGS if scenario.rotates_key else None) as testbed:
        print(f"load: seeding {accounts:,} accounts: one password, hashed once", flush=True)
        target = testbed.seeded(accounts)
        if scenario.rotates_key:
            testbed.run_issuer("keys", "rotate")
        yield target


def _deployed(options: argparse.Namespace) -> LoadTarget:
    if options.publish:
        raise CannotStartError("--publish needs the one-machine stack: leave HOST out")
    issuer, accounts = options.issuer or options.host, options.accounts or 0
    for url in (options.host, issuer):
        _check_reachable(url)
    password_file = options.out / "password"
    if accounts and not password_file.exists():
        raise CannotStartError(f"seed the accounts first: make seed ACCOUNTS={accounts}")
    if not accounts:
        password_file = options.out / "password-of-registrations"
        seed.write_password(password_file)
    return LoadTarget(options.host, issuer, accounts, password_file)


def _publish_load(options: argparse.Namespace, accounts: int, document: dict[str, Any]) -> None:
    about = f"{options.users:,} users, scenario {options.scenario}, {options.duration:.0f} s; {accounts:,} accounts"
    (PUBLISHED / "load.md").write_text(
        f"# A load run\n\n{machine.written_by('make load LOAD_ARGS=--publish')}.\n\n"
        f"{about} with one password and one hash.\n\n{document['table']}\n\n{document['cpu']}\n",
        encoding="utf-8",
    )


def _publish_sweep(options: argparse.Namespace) -> None:
    document = json.loads((options.out / "sweep.json").read_text(encoding="utf-8"))
    steps, knee = document["steps"], document["knee"]
    figures = table(list(steps[0]), [[f"{figure:g}" for figure in step.values()] for step in steps])
    users = "no knee" if knee["users"] is None else f"knee: {knee['users']:,} users"
    for name in ("sweep.csv", "sweep.svg"):
        (PUBLISHED / name).write_bytes((options.out / name).read_bytes())
    (PUBLISHED / "sweep.md").write_text(
        f"# A capacity sweep\n\n{machine.written_by('make sweep LOAD_ARGS=--publish')}.\n\n"
        f"![Throughput and p95](sweep.svg)\n\n{figures}\n\n"
        f"**{users}; {knee['reason']}**\n",
        encoding="utf-8",
    )


def _check_reachable(url: str) -> None:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    try:
        create_connection((parts.hostname or "", port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise CannotStartError(
            f"{url} cannot be reached ({error.strerror or error}): is it up, and is the name right?"
        ) from None


def _raise_descriptor_limit(users: int) -> None:
    needed = _DESCRIPTORS_PER_USER * users + _OTHER_DESCRIPTORS
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise CannotStartError(
            f"{users} users need {needed} file descriptors and the limit is {hard}: "
            f"raise it (ulimit -Hn {needed}) or take fewer users"
        )
    raise_descriptor_limit(needed)


def _seconds(text: str) -> float:
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    with suppress(ValueError):
        if 0 < (seconds := float(text[:-1] if unit else text) * (unit or 1)) <= 4 * 3600:
            return seconds
    raise argparse.ArgumentTypeError("must be a time such as 90, 90s or 3m, more than 0 and at most 4h")


def _url(text: str) -> str:
    with suppress(ValueError):  # of an invalid port or IPv6 address
        parts = urlsplit(text)
        is_base = parts.port != 0 and parts.path in {"", "/"} and not parts.username
        if parts.scheme in {"http", "https"} and parts.hostname and is_base:
            return text.rstrip("/")
    raise argparse.ArgumentTypeError("must be http://HOST[:PORT] or https://HOST[:PORT]")


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError("must begin with /")
    return text


if __name__ == "__main__":
    sys.exit(exit_status("load", lambda: main(sys.argv[1:])))
