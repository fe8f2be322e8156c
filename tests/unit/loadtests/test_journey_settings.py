"""What a load run may be told, and what it refuses in one line."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from loadtests.journeys.__main__ import IMPOSSIBLE, main
from loadtests.journeys.kinds import JOURNEYS
from loadtests.journeys.settings import SettingsError, descriptors_needed, read, read_seed
from tests.support.processes import ROOT, free_port
from tests.support.programs import program


def test_a_thousand_people_for_three_minutes_are_what_is_asked_for_by_default() -> None:
    settings = read([], {})
    assert (settings.journey.name, settings.steps, settings.duration, settings.ramp) == ("person", (1000,), 180, 60)
    assert (settings.host, settings.people, settings.think) == (None, 10_000, 5.0)


def test_a_sweep_goes_from_100_to_2000_users() -> None:
    steps = read([], {}, sweep=True).steps
    assert (steps[0], steps[-1], list(steps)) == (100, 2000, sorted(steps))


def test_users_and_duration_can_also_be_said_in_the_words_of_locust() -> None:
    said = {"LOCUST_USERS": "50", "LOCUST_RUN_TIME": "1m30s", "LOCUST_SPAWN_RATE": "5"}
    settings = read([], said)
    assert (settings.steps, settings.duration, settings.ramp) == ((50,), 90.0, 10.0)
    assert read(["--users", "7"], said | {"LOCUST_SPAWN_RATE": ""}).steps == (7,)


def test_a_named_host_is_loaded_with_accounts_of_its_own() -> None:
    settings = read(["--host", "https://app.example.com:8443/"], {})
    assert (settings.host, settings.issuer, settings.people) == (*("https://app.example.com:8443",) * 2, 0)
    both = read(["--host", "https://app.example.com", "--issuer", "https://app.example.com/auth/"], {})
    assert (both.host, both.issuer) == ("https://app.example.com", "https://app.example.com/auth")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--users 0", "USERS must be a number from 1"),
        ("--users -3", "USERS must be a number from 1"),
        ("--users many", "USERS must be a number from 1"),
        ("--users 1e3", "USERS must be a number from 1"),
        ("--duration 0", "DURATION must be a number from 1"),
        ("--duration 90 --ramp 90", "DURATION (90 s) must be longer than the ramp (90 s)"),
        ("--think 0", "THINK must be a number from 0.01"),
        ("--think nan", "THINK must be a number from 0.01"),
        ("--accounts -1", "ACCOUNTS must be a number from 0"),
        ("--journey tourist", "JOURNEY must be one of person, verify-steady"),
        ("--journey rotation --duration 60", "DURATION must be at least 150 s for the journey rotation"),
        ("--journey rotation --host https://app.example.com", "leave HOST out"),
        ("--host app.example.com", "HOST must begin with https:// or http://"),
        ("--host ftp://app.example.com", "HOST must begin with https:// or http://"),
        ("--host http://", "HOST must begin with https:// or http://"),
        ("--host http://app.example.com:http", "HOST is no URL"),
        ("--host https://me:secret@app.example.com", "HOST must be scheme, host and port alone"),
        ("--host https://app.example.com/api", "HOST must be scheme, host and port alone"),
        ("--issuer https://login.example.com", "name that too"),
        ("--host https://app.example.com --publish", "leave HOST out"),
        ("--call api", "CALL must be a path"),
        ("--call //elsewhere.example", "CALL must be a path"),
        ("--user 5", "unrecognized arguments: --user 5"),
        ("--users", "--users: expected one argument"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(arguments.split(), {})
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--steps 5", "STEPS must be two or more"),
        ("--steps 5,5", "STEPS must be two or more"),
        ("--steps 9,5", "STEPS must be two or more"),
        ("--steps 5,x", "STEPS must be a number"),
        ("--steps 5,6 --duration 5", "DURATION must be at least 6 s for 2 STEPS"),
        ("--users 5", "unrecognized arguments"),
    ],
)
def test_a_sweep_refuses_impossible_steps(arguments: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(arguments.split(), {}, sweep=True)
    assert complaint in str(refused.value)


@pytest.mark.parametrize("variable", ["LOCUST_HOST", "LOCUST_WORKER", "LOCUST_USER"])
def test_no_variable_of_locusts_sends_the_load_elsewhere(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable} is not taken"):
        read([], {variable: "https://elsewhere.example"})


def test_too_few_file_descriptors_are_told_before_anything_starts() -> None:
    assert descriptors_needed(1000, 4096) == 2512
    assert descriptors_needed(1000, -1) == 2512
    with pytest.raises(SettingsError, match=r"2000 users need 4512 file descriptors and the limit is 4096: raise"):
        descriptors_needed(2000, 4096)


def test_the_command_line_ends_with_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["load", "--users", "0"], ["sweep", "--steps", "1"], ["seed", "--accounts", "0"], ["lode"]):
        assert main(arguments) == IMPOSSIBLE
        told = capsys.readouterr()
        assert (told.out, len(told.err.splitlines())) == ("", 1)


def test_a_host_that_nobody_answers_for_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    assert main(["load", "--host", nobody, "--out", str(tmp_path)]) == IMPOSSIBLE
    assert capsys.readouterr().err == (
        f"load: {nobody} can't be reached (Connection refused): is it up, and is that its name?\n"
    )


def test_seeding_is_of_as_many_accounts_as_are_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_seed([])[0] == 10_000
    assert main(["seed", "--accounts", "3", "--out", str(tmp_path)]) == 0
    assert len((tmp_path / "people.jsonl").read_text().splitlines()) == 3
    password = (tmp_path / "password").read_text()
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("people.jsonl", "password")} == {0o600}
    told = capsys.readouterr().out
    assert "users import" in told
    assert password not in told


def test_a_host_in_the_environment_is_not_one_that_was_named() -> None:
    program("make")
    named = _make("load", "HOST=https://app.example.com", "USERS=5", HOST="elsewhere", THINK="9")
    assert "--users='5' --host='https://app.example.com'" in named
    assert "--think" not in named
    assert "--host" not in _make("sweep", HOST="elsewhere")


def test_every_command_of_the_readme_is_one_that_is_taken() -> None:
    program("make")
    readme = (ROOT / "loadtests/README.md").read_text(encoding="utf-8")
    typed = re.findall(r"^    make ((?:load|sweep|seed)\b[^#\n]*)", readme, re.MULTILINE)
    assert {line.split()[0] for line in typed} == {"load", "sweep", "seed"}
    for line in typed:
        _, command, *flags = shlex.split(_make(*shlex.split(line)).partition(" -m ")[2])
        if command == "seed":
            read_seed(flags)
        else:
            read(flags, {}, sweep=command == "sweep")


def test_the_readme_tells_of_every_journey() -> None:
    readme = (ROOT / "loadtests/README.md").read_text(encoding="utf-8")
    table = readme.partition("| `JOURNEY` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(JOURNEYS)


def _make(*arguments: str, **environ: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=own | environ, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]
