"""deploy/gateways/: every configuration is tested and passes its gateway's own validator."""

import os
import sys
from pathlib import Path

import pytest

from stack import gateway_config
from tests.support.gateway_programs import COMPLETE, OURS, PROGRAMS
from tests.support.processes import ROOT, finished
from tests.support.sites import write_site

FOLDER = ROOT / "deploy/gateways"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_configuration_is_tested_and_documented() -> None:
    assert gateway_config.names() == COMPLETE
    for name in COMPLETE:
        assert (FOLDER / name / "README.md").is_file()
        assert f"({name}/README.md)" in README


@pytest.mark.parametrize("name", [name for name in OURS if PROGRAMS[name].check])
def test_the_gateways_own_validator_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    check = PROGRAMS[name].check
    assert check is not None
    if name in COMPLETE:
        gateway_config.write(name, tmp_path, {})
    else:
        write_site(name, tmp_path, {})
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    checked = finished(check(tmp_path), folder=tmp_path, environ=environ)
    assert checked.returncode == 0, checked.stderr


def test_another_gateway_can_run_the_same_tests(tmp_path: Path) -> None:
    script = tmp_path / "my-gateway"
    command = " ".join(PROGRAMS["envoy"].command(tmp_path))
    script.write_text(f"#!/bin/sh\n{sys.executable} -m stack.gateway_config envoy {tmp_path}\nexec {command}\n")
    script.chmod(0o755)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/gateways"]
    chosen = "external and (two_authorization or the_required_scope)"
    environ = {**os.environ, "GATEPASS_GATEWAY": str(script)}
    done = finished([*suite, "-k", chosen], environ=environ)
    assert "5 passed" in done.stdout, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "usage"),
        (["ngin"], "nginx"),
        (["nginx", "/nowhere/at/all"], "give an existing folder"),
    ],
)
def test_a_usage_error_is_one_line(arguments: list[str], printed: str) -> None:
    command = [sys.executable, "-m", "stack.gateway_config", *arguments]
    done = finished(command)
    assert (done.returncode, done.stdout) == (1, "")
    assert printed in done.stderr
    assert done.stderr.count("\n") == 1
