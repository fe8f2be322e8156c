"""Checks of compose.yaml without a container engine: sizes by settings, the profile `observability`, lock files.

Its services run in `tests/integration/images`.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from issuer.http.server import _DRAIN_SECONDS
from issuer.passwords.resources import ensure_memory
from issuer.settings import IssuerSettings
from tests.support.processes import ROOT, finished
from verifier.settings import VerifierSettings
from verifier.subrequest.http_server import CLOSE_GRACE_SECONDS

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
SIDES: Final = ("issuer", "verifier")
LOCKS: Final = (
    "requirements.lock",
    *(f"{side}/requirements.lock" for side in SIDES),
    "issuer/requirements.tracing.lock",
    "stack/requirements.lock",
    "doctor/requirements.lock",
)
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _dockerfile(side: str) -> str:
    return (ROOT / side / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def _final_stage(side: str) -> str:
    return _dockerfile(side).rpartition("\nFROM ")[2]


def _mounts(service: str) -> set[str]:
    return set(SERVICES[service].get("volumes", []))


def _networks(service: str) -> set[str]:
    return set(SERVICES[service].get("networks", []))


def _seconds(period: str) -> float:
    return float(period.removesuffix("s"))


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_a_service_can_write_nothing_and_gain_nothing(service: str) -> None:
    described = SERVICES[service]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in described
    assert "cap_add" not in described


def test_services_have_enough_descriptors_and_time_to_stop() -> None:
    connections = VerifierSettings.model_fields["max_connections"].default
    assert SERVICES["verifier"]["ulimits"]["nofile"] > connections
    draining = VerifierSettings.model_fields["drain_seconds"].default + 2 * CLOSE_GRACE_SECONDS
    assert draining < _seconds(SERVICES["verifier"]["stop_grace_period"])
    hashing = IssuerSettings.model_fields["password_hash_timeout_seconds"].default
    assert max(hashing, 2 * _DRAIN_SECONDS) < _seconds(SERVICES["issuer"]["stop_grace_period"])


def test_the_issuer_has_memory_for_its_hashes() -> None:
    bytes_of_a_hash = IssuerSettings.model_fields["argon2_memory_mib"].default << 20
    limit = int(SERVICES["issuer"]["deploy"]["resources"]["limits"]["memory"].removesuffix("M")) << 20
    ensure_memory(16, bytes_of_a_hash, limit)


def test_only_gateway_issuer_and_dashboard_have_published_ports_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"nginx", "issuer", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert {name for name in SERVICES if outside & _networks(name)} == set(published)


def test_our_images_carry_the_version_of_the_project() -> None:
    version = PROJECT["project"]["version"]
    assert {SERVICES[side]["image"] for side in SIDES} == {f"gatepass-{side}:{version}" for side in SIDES}
    for side in SIDES:
        labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', _final_stage(side)))
        assert (labels["title"], labels["version"]) == (f"gatepass-{side}", version)


def test_mounted_files_exist() -> None:
    mounted = {mount.split(":")[0] for name in SERVICES for mount in _mounts(name) if mount.startswith(".")}
    assert {"./deploy/gateways/policies.toml", "./deploy/prometheus/prometheus.yml"} <= mounted
    assert not [path for path in mounted if not (ROOT / path).exists()]
    read_only = {mount for name in SERVICES for mount in _mounts(name) if mount.startswith(".")}
    assert all(mount.endswith(":ro") for mount in read_only)


def test_prometheus_scrapes_the_services_of_compose() -> None:
    jobs = {job["job_name"]: job for job in _yaml(ROOT / "deploy/prometheus/prometheus.yml")["scrape_configs"]}
    (issuer,) = jobs["gatepass-issuer"]["static_configs"]
    assert issuer["targets"] == [f"issuer:{IssuerSettings.model_fields['admin_port'].default}"]
    (verifiers,) = jobs["gatepass-verifier"]["dns_sd_configs"]
    assert verifiers["names"] == ["verifier"]
    assert verifiers["port"] == VerifierSettings.model_fields["admin_port"].default
    for side in SIDES:
        assert SERVICES[side]["environment"][f"{side.upper()}_ADMIN_HOST"] == "0.0.0.0"
        assert len(_networks("prometheus") & _networks(side)) == 1


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("side", SIDES)
def test_a_dockerfile_passes_the_linter(side: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = finished([hadolint, ROOT / side / "Dockerfile"])
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("side", SIDES)
def test_an_image_installs_only_locked_wheels(side: str) -> None:
    installs = re.findall(r"python -m pip [^&]*\binstall [^&]*", _dockerfile(side))
    assert len(installs) == 1
    assert all("--require-hashes" in line and "--only-binary" in line for line in installs)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search("https?://|--index|--find-links|file:", text)
    requirements = re.findall(r"^\S+==.*?(?=^\S+==|\Z)", text, re.MULTILINE | re.DOTALL)
    assert requirements
    assert all("--hash=sha256:" in requirement for requirement in requirements)


@pytest.mark.parametrize("lock", LOCKS[1:])
def test_every_lock_has_the_versions_that_the_tests_ran_with(lock: str) -> None:
    assert _versions(lock).items() <= _versions("requirements.lock").items()


@pytest.mark.parametrize(
    ("lock", "groups"),
    [
        ("issuer/requirements.lock", ["issuer"]),
        ("issuer/requirements.tracing.lock", ["issuer", "tracing"]),
        ("verifier/requirements.lock", ["verifier"]),
        ("stack/requirements.lock", ["issuer", "verifier", "stack"]),
        ("doctor/requirements.lock", ["doctor"]),
    ],
)
def test_every_dependency_is_in_its_lock(lock: str, groups: list[str]) -> None:
    requirements = [requirement for group in groups for requirement in PROJECT["dependency-groups"][group]]
    wanted = {re.split(r"[\[>=;]", requirement)[0] for requirement in requirements}
    assert wanted <= _versions(lock).keys()


def _versions(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {name.partition("[")[0]: version for name, version in re.findall(r"^(\S+)==([^\s;]+)", text, re.MULTILINE)}
