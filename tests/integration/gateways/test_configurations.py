"""deploy/gateways/: the commands of the README work, and each gateway's own checker has nothing to say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack import gateway
from tests.support.gateway_programs import ELSEWHERE, PROGRAMS
from tests.support.processes import ROOT

README = (ROOT / "deploy/gateways/README.md").read_text(encoding="utf-8")
OURS = sorted(set(PROGRAMS) - {ELSEWHERE})


def test_the_commands_fill_in_the_addresses(tmp_path: Path) -> None:
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-euc", commands], cwd=tmp_path, env=environ, check=True)
    written = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert "server 127.0.0.1:8001;" in written["gatepass.conf"]
    assert "10.0.0.7" in written["envoy.yaml"]
    assert not [name for name, text in written.items() if "${" in text]


@pytest.mark.parametrize("name", gateway.names())
def test_every_placeholder_is_explained_and_used(name: str) -> None:
    explained = set(re.findall(r"\$\{([A-Z_]+)\}", README))
    templates = (ROOT / "deploy/gateways" / name).glob("*.template")
    used = {found for path in templates for found in re.findall(r"\$\{([A-Z_]+)\}", path.read_text(encoding="utf-8"))}
    assert used <= explained
    assert used >= explained - {"CHECK_PORT"}


def test_every_configuration_runs_in_the_suite_and_has_its_readme() -> None:
    assert gateway.names() == OURS
    for name in OURS:
        assert (ROOT / "deploy/gateways" / name / "README.md").is_file()


@pytest.mark.parametrize("name", [name for name in OURS if PROGRAMS[name].check])
def test_the_gateways_own_checker_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    check = PROGRAMS[name].check
    assert check is not None
    gateway.write(name, tmp_path, {})
    checked = subprocess.run(check(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


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
