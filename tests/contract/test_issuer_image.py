"""What the issuer's image holds: its own code, hashed wheels, and nothing that runs as root."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.openapi import ROOT

DOCKERFILE = ROOT / "issuer/Dockerfile"


def test_the_dockerfile_passes_its_linter() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_the_image_holds_the_issuer_and_what_is_shared() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(), re.MULTILINE)
    assert copied == ["issuer/requirements.lock", "shared/", "issuer/"]


def test_only_hashed_wheels_are_installed_and_nobody_is_root() -> None:
    text = DOCKERFILE.read_text()
    assert "--require-hashes --only-binary :all:" in text
    assert "\nUSER 10001:10001\n" in text
