"""deploy/gateways/: the commands of the README work, and each gateway's own checker has nothing to say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack import gateway
from tests.support.gateway_programs import ELSEWHERE, PROGRAMS, Difference
from tests.support.processes import ROOT
from verifier.answers import IDENTITY_HEADERS

FOLDER = ROOT / "deploy/gateways"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
OURS = sorted(set(PROGRAMS) - {ELSEWHERE})


@pytest.mark.parametrize("document", ["README.md", *(f"{name}/README.md" for name in OURS)])
def test_the_commands_of_a_readme_work(document: str, tmp_path: Path) -> None:
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", (FOLDER / document).read_text(encoding="utf-8"), re.DOTALL))
    programs = [Path(PROGRAMS[name].command(tmp_path)[0]).parent for name in OURS if name in document]
    path = ":".join(map(str, [*programs, os.environ["PATH"]]))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path}
    done = subprocess.run(
        ["sh", "-euc", commands], cwd=tmp_path, env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [text for text in written if "${" in text]


def test_the_readme_says_where_gateways_differ() -> None:
    section = README.partition("## Where they differ")[2].partition("\n## ")[0]
    told = dict(reversed(row) for row in re.findall(r"^\| (.+) \| (.+) \|$", section, re.MULTILINE))
    assert told == {
        difference.value: ", ".join(name for name in OURS if difference in PROGRAMS[name].differences)
        for difference in Difference
    }


def test_the_readme_names_every_identity_header() -> None:
    assert set(re.findall(r"`(X-Auth-\w+)`", README)) == set(IDENTITY_HEADERS)


@pytest.mark.parametrize("name", gateway.names())
def test_every_placeholder_is_explained_and_used(name: str) -> None:
    explained = set(re.findall(r"\$\{([A-Z_]+)\}", README))
    templates = (FOLDER / name).glob("*.template")
    used = {found for path in templates for found in re.findall(r"\$\{([A-Z_]+)\}", path.read_text(encoding="utf-8"))}
    assert used <= explained
    assert used >= explained - {"CHECK_PORT"}


def test_every_configuration_runs_in_the_suite_and_has_its_readme() -> None:
    assert gateway.names() == OURS
    for name in OURS:
        assert (FOLDER / name / "README.md").is_file()
        assert f"({name}/README.md)" in README


@pytest.mark.parametrize("name", [name for name in OURS if PROGRAMS[name].check])
def test_the_gateways_own_checker_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    check = PROGRAMS[name].check
    assert check is not None
    gateway.write(name, tmp_path, {})
    checked = subprocess.run(check(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_gateway_from_elsewhere_is_held_to_the_same(tmp_path: Path) -> None:
    script = tmp_path / "my-gateway"
    command = " ".join(PROGRAMS["envoy"].command(tmp_path))
    script.write_text(f"#!/bin/sh\n{sys.executable} -m stack.gateway envoy {tmp_path}\nexec {command}\n")
    script.chmod(0o755)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/gateways"]
    chosen = "elsewhere and (two_authorization or policy_demands_it)"
    environ = {**os.environ, "GATEPASS_GATEWAY": str(script)}
    passing = _run([*suite, "-k", chosen], environ)
    assert passing.returncode == 0, passing.stdout
    assert "4 passed" in passing.stdout
    differing = _run(
        [*suite, "-k", chosen], environ | {"GATEPASS_GATEWAY_DIFFERENCES": "JUDGES_TWO_CREDENTIALS_ITSELF"}
    )
    assert "3 failed, 1 passed" in differing.stdout


def _run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "usage"),
        (["ngin"], "nginx"),
        (["nginx", "/nowhere/at/all"], "name a folder that is there"),
    ],
)
def test_what_the_command_cannot_do_it_says_in_one_line(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "stack.gateway", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
