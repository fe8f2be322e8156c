"""Every command names the version, which is written once: in pyproject.toml."""

import subprocess
import sys
import tomllib

import pytest

from tests.support.processes import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


@pytest.mark.parametrize(
    "command",
    [
        ["verifier", "--version"],
        ["verifier", "serve", "--version"],
        ["verifier", "explain", "--version"],
        ["issuer", "--version"],
        ["issuer", "serve", "--version"],
        ["issuer", "keys", "rotate", "--version"],
        ["stack", "--version"],
        ["doctor", "--version"],
    ],
    ids=" ".join,
)
def test_a_command_prints_the_version(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env={}, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"gatepass {VERSION}\n", b"")
