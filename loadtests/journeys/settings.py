"""What a run was told, by flags or by the three LOCUST_ variables that mean the same. Refuses what cannot be."""

import argparse
import re
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, TypeVar
from urllib.parse import urlsplit

from loadtests.benchmark.processes import ROOT
from loadtests.journeys.kinds import JOURNEYS, Journey

Number = TypeVar("Number", int, float)

PEOPLE: Final = 10_000
SWEEP_STEPS: Final = (100, 250, 500, 750, 1000, 1250, 1500, 1750, 2000)
SWEEP_THINK: Final = 2.0
"""Shorter than a person's, so that the knee lies within the steps."""

_LONGEST_SECONDS: Final = 4 * 3600
_MOST_USERS: Final = 20_000
_MOST_PEOPLE: Final = 1_000_000
_LEAST_STEP_SECONDS: Final = 3.0
_CONNECTIONS_OF_A_USER: Final = 2
_OTHER_DESCRIPTORS: Final = 512
_UNITS: Final = {"h": 3600, "m": 60, "s": 1}
_TIME: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
LOCUST_VARIABLES: Final = {"LOCUST_USERS": "users", "LOCUST_RUN_TIME": "duration", "LOCUST_SPAWN_RATE": "spawn_rate"}


class SettingsError(Exception):
    """The run can't be as it was asked for. The message is one line: what, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A run as it will be.

    Attributes:
        steps: users at a time; one number, or those of a sweep.
        duration: of everything, in seconds.
        ramp: of it, until all users of a step are there and its figures begin.
        think: the mean pause between two steps of a user, in seconds.
        host: the gateway's base URL; None starts the one-machine stack.
        issuer: the issuer's.
        people: how many accounts are seeded; without any, every user registers.
        call: the path that is called through the gateway.
        out: the folder of the reports.
        publish: also write the results into the specification.
    """

    journey: Journey
    steps: tuple[int, ...]
    duration: float
    ramp: float
    think: float
    host: str | None
    issuer: str | None
    people: int
    call: str
    out: Path
    publish: bool

    @property
    def users(self) -> int:
        """The most at a time."""
        return max(self.steps)


class _Parser(argparse.ArgumentParser):
    """One line for a fault, as everywhere."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; --help lists what there is")


def read(arguments: Sequence[str], environ: Mapping[str, str], *, sweep: bool = False) -> Settings:
    """The settings of a run, or of a sweep.

    Raises:
        SettingsError: they are impossible.
    """
    given = {
        **_from_locust(environ),
        **{k: v for k, v in vars(_parser(sweep=sweep).parse_args(arguments)).items() if v},
    }
    journey = _journey(given.get("journey") or "person")
    host, issuer = _hosts(given.get("host"), given.get("issuer"), journey)
    if host and given.get("publish"):
        raise SettingsError("--publish is for what anybody can run again, on the one-machine stack: leave HOST out")
    steps = _steps(given, sweep=sweep)
    duration = _number("DURATION", given.get("duration") or ("360" if sweep else "180"), _seconds, _LONGEST_SECONDS)
    ramp = _ramp(given, duration, steps)
    if duration < journey.least_seconds:
        raise SettingsError(f"DURATION must be at least {journey.least_seconds:g} s for the journey {journey.name}")
    people = _number("ACCOUNTS", given.get("accounts") or ("0" if host else str(PEOPLE)), int, _MOST_PEOPLE, least=0)
    return Settings(
        journey=journey,
        steps=steps,
        duration=duration,
        ramp=ramp,
        think=_number(
            "THINK", given.get("think") or f"{SWEEP_THINK if sweep else journey.think}", float, 600.0, least=0.01
        ),
        host=host,
        issuer=issuer,
        people=people,
        call=_path(given.get("call") or "/"),
        out=Path(given.get("out") or ROOT / ".load").absolute(),
        publish=bool(given.get("publish")),
    )


def read_seed(arguments: Sequence[str]) -> tuple[int, Path]:
    """How many accounts are to be seeded, and the folder for them.

    Raises:
        SettingsError: impossible.
    """
    parser = _Parser(prog="python -m loadtests.journeys seed", allow_abbrev=False)
    parser.add_argument("--accounts", metavar="N", default=str(PEOPLE), help=f"how many; {PEOPLE}")
    parser.add_argument("--out", metavar="FOLDER", default=str(ROOT / ".load"), help="where they go; .load")
    given = parser.parse_args(arguments)
    return _number("ACCOUNTS", given.accounts, int, _MOST_PEOPLE), Path(given.out).absolute()


def descriptors_needed(users: int, hard_limit: int) -> int:
    """How many files a process must be able to open for that many users: one connection to each side for each.

    Raises:
        SettingsError: that is more than the system lets us.
    """
    needed = _CONNECTIONS_OF_A_USER * users + _OTHER_DESCRIPTORS
    if hard_limit != resource.RLIM_INFINITY and needed > hard_limit:
        raise SettingsError(
            f"{users} users need {needed} file descriptors and the limit is {hard_limit}:"
            f" raise it (ulimit -Hn {needed}) or take fewer USERS"
        )
    return needed


def _parser(*, sweep: bool) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"python -m loadtests.journeys {'sweep' if sweep else 'load'}", allow_abbrev=False)
    if sweep:
        parser.add_argument("--steps", metavar="N,N,…", help="users at a time, growing; 100 to 2,000")
    else:
        parser.add_argument("--users", metavar="N", help="users at a time; 1000")
    parser.add_argument("--duration", metavar="SECONDS", help="of everything, such as 180 or 3m")
    parser.add_argument("--ramp", metavar="SECONDS", help="of it, until all users are there; a third")
    parser.add_argument("--think", metavar="SECONDS", help="mean pause between two steps of a user")
    parser.add_argument("--journey", metavar="NAME", help=", ".join(JOURNEYS))
    parser.add_argument("--host", metavar="URL", help="the gateway of a deployed Gatepass; nothing is started then")
    parser.add_argument("--issuer", metavar="URL", help="its issuer, if that has another host")
    parser.add_argument("--accounts", metavar="N", help=f"seeded accounts; {PEOPLE}, or 0 with a host")
    parser.add_argument("--call", metavar="PATH", help="what is called through the gateway; /")
    parser.add_argument("--out", metavar="FOLDER", help="where reports go; .load")
    parser.add_argument("--publish", action="store_true", help="also write the results into the specification")
    return parser


def _from_locust(environ: Mapping[str, str]) -> dict[str, str]:
    """Another variable of locust's might send the load elsewhere, or its reports."""
    found = {name: value for name, value in environ.items() if name.startswith("LOCUST_") and value}
    if unknown := sorted(set(found) - set(LOCUST_VARIABLES)):
        raise SettingsError(f"{unknown[0]} is not taken: {', '.join(LOCUST_VARIABLES)} are, the rest are flags")
    return {LOCUST_VARIABLES[name]: value for name, value in found.items()}


def _journey(name: str) -> Journey:
    if name not in JOURNEYS:
        raise SettingsError(f"JOURNEY must be one of {', '.join(JOURNEYS)}, not {name!r}")
    return JOURNEYS[name]


def _hosts(host: str | None, issuer: str | None, journey: Journey) -> tuple[str | None, str | None]:
    """What was named and nothing else is loaded: the issuer is at the host unless it is named too."""
    if host is None:
        if issuer is not None:
            raise SettingsError("ISSUER says where the issuer of a HOST is: name that too, or neither")
        return None, None
    if journey.rotates:
        raise SettingsError(f"JOURNEY={journey.name} rotates keys, which HOST's we can't: leave HOST out")
    return _base_url("HOST", host), _base_url("ISSUER", issuer or host, below=True)


def _base_url(name: str, url: str, *, below: bool = False) -> str:
    """Without a slash at its end. An issuer may be `below` a path, as a gateway may lead to it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{name} is no URL: write it as https://app.example.com") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{name} must begin with https:// or http:// and a host: https://app.example.com")
    if parts.username is not None or "?" in url or "#" in url or (parts.path.strip("/") and not below):
        raise SettingsError(f"{name} must be scheme, host and port alone, without path, query or credentials")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _steps(given: Mapping[str, str], *, sweep: bool) -> tuple[int, ...]:
    if not sweep:
        return (_number("USERS", given.get("users") or "1000", int, _MOST_USERS),)
    words = given.get("steps")
    if not words:
        return SWEEP_STEPS
    steps = tuple(_number("STEPS", word, int, _MOST_USERS) for word in words.split(","))
    if list(steps) != sorted(set(steps)) or len(steps) < 2:  # noqa: PLR2004 - a line has two points at least
        raise SettingsError("STEPS must be two or more numbers of users, each greater than the one before")
    return steps


def _ramp(given: Mapping[str, str], duration: float, steps: tuple[int, ...]) -> float:
    """Of each step a third, if nothing else is said."""
    share = duration / len(steps)
    if len(steps) > 1 and share < _LEAST_STEP_SECONDS:
        least = _LEAST_STEP_SECONDS * len(steps)
        raise SettingsError(f"DURATION must be at least {least:g} s for {len(steps)} STEPS")
    if given.get("ramp"):
        ramp = _number("RAMP", given["ramp"], _seconds, _LONGEST_SECONDS)
    elif given.get("spawn_rate"):
        ramp = steps[0] / _number("LOCUST_SPAWN_RATE", given["spawn_rate"], float, 10_000.0, least=0.01)
    else:
        ramp = share / 3
    if ramp >= share:
        raise SettingsError(
            f"DURATION ({share:g} s) must be longer than the ramp ({ramp:g} s): nothing is measured in it"
        )
    return ramp


def _number(name: str, text: str, read: Callable[[str], Number], most: float, least: float = 1) -> Number:
    try:
        number = read(text)
        if not least <= number <= most:
            raise ValueError  # noqa: TRY301 - one message for what is no number and for what is out of bounds
    except ValueError:
        raise SettingsError(f"{name} must be a number from {least:g} to {most:.0f}, not {text!r}") from None
    return number


def _seconds(text: str) -> float:
    """`180`, or as locust writes it: `90s`, `3m`, `1h30m`."""
    found = _TIME.fullmatch(text)
    if not found or not any(found.groups()):
        raise ValueError(text)
    return sum(float(number or 0) * unit for number, unit in zip(found.groups(), _UNITS.values(), strict=True))


def _path(text: str) -> str:
    if not re.fullmatch(r"/[\x21-\x7e]*", text) or text.startswith("//"):
        raise SettingsError("CALL must be a path of the application that begins with one slash, such as /api/ping")
    return text
