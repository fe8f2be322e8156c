"""The systemd units in deploy/systemd are valid, and keep the settings that they name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import ROOT
from verifier.settings import VerifierSettings
from verifier.subrequest.protocol import CLOSE_GRACE_SECONDS

UNITS: Final = ROOT / "deploy/systemd"
SERVICES: Final = ["gatepass-verifier.service", "gatepass-verifier@.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS.glob("gatepass-*"):
        text = unit.read_text(encoding="utf-8").replace("/opt/gatepass/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text.replace("/opt/gatepass", str(ROOT)), encoding="utf-8")
    units = ["gatepass-verifier.socket", "gatepass-verifier.service", "gatepass-verifier@9002.service"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(f"./{unit}" for unit in units)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # What it only warns of, such as an unknown option, it does not tell by its exit status.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_time_to_drain_and_descriptors_for_its_connections(name: str) -> None:
    unit = (UNITS / name).read_text(encoding="utf-8")
    drain_seconds = VerifierSettings.model_fields["drain_seconds"].default + 2 * CLOSE_GRACE_SECONDS
    assert _number(unit, "TimeoutStopSec") > drain_seconds
    assert _number(unit, "LimitNOFILE") > VerifierSettings.model_fields["max_connections"].default


def test_the_template_differs_from_the_service_in_its_names_alone() -> None:
    service, template = (
        (UNITS / name).read_text(encoding="utf-8").partition("[Service]")[2].splitlines() for name in SERVICES
    )
    assert set(service) ^ set(template) == {
        "Sockets=gatepass-verifier.socket",
        "Environment=VERIFIER_JWKS_CACHE_DIR=%C/gatepass-verifier",
        "Environment=VERIFIER_JWKS_CACHE_DIR=%C/gatepass-verifier-%i VERIFIER_ADMIN_PORT=%i",
        "CacheDirectory=gatepass-verifier",
        "CacheDirectory=gatepass-verifier-%i",
    }


def _number(unit: str, name: str) -> int:
    found = re.search(rf"^{name}=(\d+)s?$", unit, re.MULTILINE)
    assert found
    return int(found[1])
