"""`make load`, `make sweep`, `make seed`: what a thousand users at a time are answered; loadtests/README.md explains.

Exit status: 0 everything that is demanded was met, 1 not met or nothing to report, 2 it can't be done as asked.
"""

import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from socket import create_connection
from typing import Final
from urllib.parse import urlsplit

from loadtests.benchmark import machine
from loadtests.benchmark.processes import ROOT, ProcessError
from loadtests.journeys import people, report
from loadtests.journeys.generator import play
from loadtests.journeys.pictures import to_svg
from loadtests.journeys.plan import Plan
from loadtests.journeys.report import Run
from loadtests.journeys.settings import Settings, SettingsError, descriptors_needed, read, read_seed
from loadtests.journeys.site import running_site

NOT_MET: Final = 1
IMPOSSIBLE: Final = 2
INTERRUPTED: Final = 130
PUBLISHED: Final = ROOT / "specs/004-load-gateways-operation"
_CONNECT_SECONDS: Final = 5.0
_COMMANDS: Final = ("load", "sweep", "seed")
USAGE: Final = "usage: python -m loadtests.journeys load|sweep|seed [--help]"


@dataclass(frozen=True, slots=True)
class _Target:
    """What is loaded, and the process id of the stack if it is ours."""

    host: str
    issuer: str
    stack: int | None


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit status."""
    command, *options = arguments or [""]
    if command not in _COMMANDS:
        print(USAGE, file=sys.stderr)
        return IMPOSSIBLE
    try:
        if command == "seed":
            return _seed(options)
        settings = read(options, os.environ, sweep=command == "sweep")
        _allow_descriptors(settings.users)
        run = _carry_out(settings)
    except SettingsError as error:
        print(f"load: {error}", file=sys.stderr)
        return IMPOSSIBLE
    except (ProcessError, OSError) as error:
        print(f"load: nothing to report: {error}", file=sys.stderr)
        return NOT_MET
    except KeyboardInterrupt:
        print("load: interrupted; what was started is stopped, nothing is reported", file=sys.stderr)
        return INTERRUPTED
    return _tell(run)


def _carry_out(settings: Settings) -> Run:
    settings.out.mkdir(parents=True, exist_ok=True)
    with _target(settings) as (target, secret):
        share = settings.duration / len(settings.steps)
        plan = Plan(
            user=settings.journey.user,
            steps=settings.steps,
            ramp=settings.ramp,
            step_seconds=share,
            think=settings.think,
            host=target.host,
            issuer=target.issuer,
            call=settings.call,
            people=settings.people,
            secret=str(secret),
            stack=target.stack,
            result=str(settings.out / "figures.json"),
        )
        _say(f"{settings.journey.name}: {settings.users:,} users at {target.host}, issuer at {target.issuer}")
        figures = play(plan, settings.out)
    versions = {name: version(name) for name in ("locust", "gevent", "geventhttpclient")}
    return Run(settings, figures, machine.describe(), versions, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


@contextmanager
def _target(settings: Settings) -> Iterator[tuple[_Target, Path]]:
    """Whom to load, with the file of the accounts' password."""
    if settings.host is not None and settings.issuer is not None:
        for url in (settings.host, settings.issuer):
            _ensure_reachable(url)
        yield _Target(settings.host, settings.issuer, None), _secret_elsewhere(settings)
        return
    _say("starting the one-machine stack on free ports, with a state folder of its own")
    with running_site(settings.out, rotates=settings.journey.rotates) as site:
        secret = site.home / "password"
        password = people.make_password(secret)
        if settings.people:
            _say(f"seeding {settings.people:,} accounts: one password, hashed once")
            people.write(settings.people, password, site.home / "people.jsonl")
            site.seed(site.home / "people.jsonl")
        if settings.journey.rotates:
            site.rotate()
        yield _Target(site.host, site.issuer, site.process.pid), secret


def _ensure_reachable(url: str) -> None:
    """Raises SettingsError if nobody listens there."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}[parts.scheme]
    try:
        create_connection((parts.hostname or "", port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise SettingsError(
            f"{url} can't be reached ({error.strerror or error}): is it up, and is that its name?"
        ) from None


def _secret_elsewhere(settings: Settings) -> Path:
    if not settings.people:
        secret = settings.out / "password-of-newcomers"
        people.make_password(secret)
        return secret
    secret = settings.out / "password"
    if not secret.exists():
        raise SettingsError(f"ACCOUNTS at a HOST have to be seeded: `make seed ACCOUNTS={settings.people}` says how")
    return secret


def _seed(options: Sequence[str]) -> int:
    """Files for `users import` of an issuer elsewhere."""
    count, out = read_seed(options)
    out.mkdir(parents=True, exist_ok=True)
    people.write(count, people.make_password(out / "password"), out / "people.jsonl")
    _say(
        f"{count:,} accounts with one password, hashed once: {out / 'people.jsonl'}; the password: {out / 'password'}"
    )
    _say("where the issuer is: python -m issuer users import - < people.jsonl")
    _say(f"then here: make load HOST=https://app.example.com ACCOUNTS={count}")
    return 0


def _tell(run: Run) -> int:
    """Print and write what was measured; the exit status."""
    name = "sweep" if run.swept else "load"
    if not run.steps:
        print("load: nothing to report: it ended before all users were there", file=sys.stderr)
        return NOT_MET
    print(f"\n{report.to_text(run)}\n")
    files = {f"{name}.json": report.to_json(run), f"{name}.svg": to_svg(run)}
    if run.swept:
        files[f"{name}.csv"] = report.to_csv(run)
    _write(files, run.settings.out)
    print(run.settings.out / "report.html", run.settings.out / "requests_stats.csv", sep="\n")
    if run.settings.publish:
        _write(files | {f"{name}.md": report.to_markdown(run)}, PUBLISHED)
    return 0 if run.met else NOT_MET


def _write(files: Mapping[str, str], folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
        print(folder / name)


def _allow_descriptors(users: int) -> None:
    """Raise the soft limit, which locust and the stack inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = descriptors_needed(users, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


def _say(text: str) -> None:
    print(f"load: {text}", flush=True)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
