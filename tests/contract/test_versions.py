"""Every command names the version of pyproject.toml, and so does each file that cannot read it from there."""

import re
import sys
import tomllib

import pytest

from tests.support.processes import ROOT, finished

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
        ["loadtests", "load", "--version"],
        ["loadtests.bench.peers", "--version"],
        ["tests.vectors", "--version"],
    ],
    ids=" ".join,
)
def test_a_command_prints_the_version(command: list[str]) -> None:
    done = finished([sys.executable, "-m", *command], environ={})
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gatepass {VERSION}\n", "")


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("issuer/Dockerfile", r'image\.version="(.*)"'),
        ("verifier/Dockerfile", r'image\.version="(.*)"'),
        ("compose.yaml", r"image: gatepass-\w+:(.*)"),
        ("deploy/kubernetes/site/kustomization.yaml", r"newTag: (.*)"),
        ("specs/001-register-login-verify/contracts/issuer.openapi.yaml", r"^  version: (.*)"),
        ("README.md", r"version (\d+\.\d+\.\d+)"),
    ],
)
def test_a_file_that_repeats_the_version_is_up_to_date(file: str, pattern: str) -> None:
    assert set(re.findall(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)) == {VERSION}
