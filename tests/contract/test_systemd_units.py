"""The systemd units in deploy/systemd are valid, and set what they document."""

import re
import sys
from pathlib import Path
from typing import Final

import pytest

from issuer.http.connections import MAX_CONNECTIONS
from issuer.settings import IssuerSettings
from tests.support.processes import ROOT, finished
from tests.support.programs import program
from verifier.settings import VerifierSettings
from verifier.subrequest.http_server import CLOSE_GRACE_SECONDS

UNITS: Final = ROOT / "deploy/systemd"
VERIFIERS: Final = ["gatepass-verifier.service", "gatepass-verifier@.service"]
ISSUERS: Final = ["gatepass-issuer.service", "gatepass-issuer@.service"]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    for unit in UNITS.glob("gatepass-*"):
        text = re.sub("/opt/gatepass/gatepass-(issuer|verifier)", sys.executable, unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    units = [
        *("gatepass-verifier.socket", "gatepass-verifier.service", "gatepass-verifier@9002.service"),
        *("gatepass-issuer.socket", "gatepass-issuer.service", "gatepass-issuer@9010.service"),
    ]
    done = finished([analyze, "verify", "--man=no", *(f"./{unit}" for unit in units)], folder=tmp_path)
    # Warnings, such as of an unknown option, do not change the exit status.
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", VERIFIERS)
def test_a_verifier_has_time_to_drain_and_descriptors_for_its_connections(name: str) -> None:
    unit = (UNITS / name).read_text(encoding="utf-8")
    drain_seconds = VerifierSettings.model_fields["drain_seconds"].default + 2 * CLOSE_GRACE_SECONDS
    assert _number(unit, "TimeoutStopSec") > drain_seconds
    assert _number(unit, "LimitNOFILE") > VerifierSettings.model_fields["max_connections"].default


@pytest.mark.parametrize("name", ISSUERS)
def test_an_issuer_has_memory_for_its_hashes_and_descriptors_for_its_connections(name: str) -> None:
    unit = (UNITS / name).read_text(encoding="utf-8")
    assert _number(unit, "LimitNOFILE") >= 2 * MAX_CONNECTIONS + 512
    assert _number(unit, "TimeoutStopSec") > IssuerSettings.model_fields["password_hash_timeout_seconds"].default + 2
    assert "SystemCallFilter=~@privileged\n" in unit, "@resources has the setpriority of threads that hash"


def test_the_template_of_verifiers_differs_from_the_service_in_its_names_alone() -> None:
    assert _differences(VERIFIERS) == {
        "Sockets=gatepass-verifier.socket",
        "Environment=VERIFIER_CACHE_DIR=%C/gatepass-verifier",
        "Environment=VERIFIER_CACHE_DIR=%C/gatepass-verifier-%i VERIFIER_ADMIN_PORT=%i",
        "CacheDirectory=gatepass-verifier",
        "CacheDirectory=gatepass-verifier-%i",
    }


def test_the_template_of_issuers_differs_from_the_service_in_its_admin_port_alone() -> None:
    assert _differences(ISSUERS) == {
        "Sockets=gatepass-issuer.socket",
        "Environment=ISSUER_KEYS_DIR=%S/gatepass-issuer/keys",
        "Environment=ISSUER_KEYS_DIR=%S/gatepass-issuer/keys ISSUER_ADMIN_PORT=%i",
    }


def _differences(names: list[str]) -> set[str]:
    service, template = (
        (UNITS / name).read_text(encoding="utf-8").partition("[Service]")[2].splitlines() for name in names
    )
    return set(service) ^ set(template)


def _number(unit: str, name: str) -> int:
    found = re.search(rf"^{name}=(\d+)s?$", unit, re.MULTILINE)
    assert found
    return int(found[1])
