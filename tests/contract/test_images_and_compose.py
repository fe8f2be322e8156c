"""The images, compose.yaml and the locks, held to their promises without an engine to run them."""

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from issuer.settings import IssuerSettings
from tests.support.gateways import Verifier
from tests.support.processes import ROOT, free_port
from verifier.settings import VerifierSettings

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
JOBS: Final = {"migrate", "keys"}
SIDES: Final = ("issuer", "verifier")
LOCKS: Final = ("requirements.lock", "issuer/requirements.lock", "verifier/requirements.lock")


def _dockerfile(side: str) -> str:
    return (ROOT / side / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")


def _final_stage(side: str) -> str:
    return _dockerfile(side).rpartition("\nFROM ")[2]


def _mounts(service: str) -> set[str]:
    return set(SERVICES[service].get("volumes", []))


def test_compose_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_write_nothing_and_gain_nothing(service: str) -> None:
    described = SERVICES[service]
    assert described["read_only"] is True
    assert described["cap_drop"] == ["ALL"]
    assert described["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in described
    assert "cap_add" not in described


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_says_how_it_is_unless_it_is_a_job(service: str) -> None:
    in_its_image = service == "verifier" and "HEALTHCHECK" in _final_stage("verifier")
    assert ("healthcheck" in SERVICES[service] or in_its_image) is (service not in JOBS)


def test_only_the_gateway_and_the_issuer_are_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"nginx", "issuer"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    reaching_out = {name for name, service in SERVICES.items() if outside & set(service.get("networks", []))}
    assert reaching_out == {"nginx", "issuer"}


def test_private_keys_are_the_issuers_and_the_verifier_reads_the_public_ones_alone() -> None:
    holders = {name for name in SERVICES if any(mount.startswith("keys-private:") for mount in _mounts(name))}
    assert holders == {"issuer", "keys"}
    assert {mount for mount in _mounts("verifier") if "keys" in mount} == {"keys-public:/keys/public:ro"}


def test_the_verifier_has_no_secret_and_no_way_to_the_database() -> None:
    assert "secrets" not in SERVICES["verifier"]
    assert set(SERVICES["verifier"]["networks"]).isdisjoint(SERVICES["postgres"]["networks"])
    assert all(name.startswith("VERIFIER_") for name in SERVICES["verifier"]["environment"])


def test_secrets_come_by_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|DATABASE_URL", name) or name.endswith("_FILE")
            assert "://" not in str(value) or name.endswith(("ISSUER_URL", "VERIFIER_ISSUER", "STATUS_LISTS"))


def test_every_setting_that_compose_names_exists() -> None:
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            for settings in (IssuerSettings, VerifierSettings):
                if name.startswith(settings.PREFIX):
                    field = name.removeprefix(settings.PREFIX).lower()
                    assert {field, field.removesuffix("_file")} & settings.model_fields.keys()


def test_every_image_has_a_version() -> None:
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    images += [image for side in SIDES for image in re.findall(r"^FROM (\S+)", _dockerfile(side), re.MULTILINE)]
    assert len(images) >= 5
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images


def test_the_commands_that_make_the_secrets_make_them(tmp_path: Path) -> None:
    header = (ROOT / "compose.yaml").read_text(encoding="utf-8").partition("\nname:")[0]
    commands = [line[4:] for line in header.splitlines() if line.startswith("#   ") and "docker" not in line]
    subprocess.run(["sh", "-euc", "\n".join(commands)], cwd=tmp_path, check=True)
    folder = tmp_path / ".gatepass/secrets"
    password, url = ((folder / name).read_text() for name in ("database_password", "database_url"))
    assert re.fullmatch("[0-9a-f]{48}", password)
    assert url == f"postgresql://issuer:{password}@postgres/gatepass"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    named = {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert named == {str(file.relative_to(tmp_path)) for file in folder.iterdir()}


@pytest.mark.parametrize("side", SIDES)
def test_a_dockerfile_passes_the_linter(side: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / side / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("side", SIDES)
def test_an_image_holds_its_own_side_and_what_is_shared(side: str) -> None:
    from_tree = [
        source
        for line in re.findall(r"^(?:COPY|ADD) (.*)$", _dockerfile(side), re.MULTILINE)
        if "--from=" not in line
        for source in [word for word in line.split() if not word.startswith("--")][:-1]
    ]
    assert set(from_tree) == {f"{side}/requirements.lock", "shared/", f"{side}/"}


@pytest.mark.parametrize("side", SIDES)
def test_an_image_runs_as_an_unprivileged_number_without_a_shell(side: str) -> None:
    final = _final_stage(side)
    user = re.findall(r"^USER (\S+)$", final, re.MULTILINE)[-1]
    assert all(int(number) > 0 for number in user.split(":"))
    command = [
        word for line in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", final, re.MULTILINE) for word in json.loads(line)
    ]
    assert command == ["python", "-m", side, "serve"]
    assert not re.search(r"apt|gcc|build-essential|pip install", final)


@pytest.mark.parametrize("side", SIDES)
def test_an_image_takes_wheels_from_its_lock_and_nothing_else(side: str) -> None:
    installs = re.findall(r"pip .*install.*", _dockerfile(side))
    assert installs
    assert all("--require-hashes" in line and "--only-binary" in line for line in installs)


def test_nothing_enters_a_build_that_is_not_named() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule for rule in rules if rule.startswith("!")} == {"!shared/", "!verifier/", "!issuer/"}


def test_the_verifiers_health_check_says_how_the_verifier_is(tmp_path: Path) -> None:
    check = re.search(r"HEALTHCHECK.*?CMD (\[.*\])$", _dockerfile("verifier"), re.MULTILINE)
    assert check
    command = [sys.executable, *json.loads(check[1])[1:]]
    verifier = Verifier(tmp_path)
    with verifier.running():
        assert _exit_status(command, VERIFIER_ADMIN_PORT=str(verifier.admin_port)) == 0
    assert _exit_status(command, VERIFIER_ADMIN_PORT=str(free_port())) != 0


def _exit_status(command: list[str], **environ: str) -> int:
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, check=False).returncode


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search("https?://|--index|--find-links|file:", text)
    requirements = re.findall(r"^\S+==.*?(?=^\S+==|\Z)", text, re.MULTILINE | re.DOTALL)
    assert requirements
    assert all("--hash=sha256:" in requirement for requirement in requirements)


@pytest.mark.parametrize("side", SIDES)
def test_the_images_run_what_the_tests_ran(side: str) -> None:
    tested = _versions("requirements.lock")
    assert _versions(f"{side}/requirements.lock").items() <= tested.items()


def test_every_dependency_is_in_its_lock() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    for side in SIDES:
        wanted = {re.split(r"[\[>=;]", requirement)[0] for requirement in groups[side]}
        assert wanted <= _versions(f"{side}/requirements.lock").keys()


def _versions(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return {name.partition("[")[0]: version for name, version in re.findall(r"^(\S+)==([^\s;]+)", text, re.MULTILINE)}
