"""What the images hold and run: their Dockerfiles followed in plain folders, and the entry points started there."""

import hashlib
import json
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
import yaml

from tests.support.image_root import USER, Image, build, image_root
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, running_postgres
from tests.support.processes import ROOT, free_port, running, wait_until
from tests.support.programs import program

SIDES: Final = ("issuer", "verifier")
OF_THE_OTHER_SIDE: Final = {
    "issuer": {"verifier", "stack"},
    "verifier": {"issuer", "stack", "asyncpg", "argon2", "bcrypt", "starlette", "sqlalchemy", "alembic", "jwt"},
}
NOBODY_NEEDS: Final = {"pip", "setuptools", "wheel", "pytest", "tests", "loadtests"}
ACCOUNT: Final = {"email": "ada@example.com", "password": "seven quiet green rivers"}


class Ports(NamedTuple):
    """Where both sides listen."""

    issuer: int
    issuer_admin: int
    verifier: int
    verifier_admin: int


@pytest.fixture(scope="module")
def verifier() -> Iterator[Image]:
    with image_root("verifier") as image:
        yield image


@pytest.fixture(scope="module")
def issuer() -> Iterator[Image]:
    with image_root("issuer") as image:
        yield image


@pytest.fixture(params=SIDES)
def image(request: pytest.FixtureRequest) -> Image:
    built: Image = request.getfixturevalue(request.param)
    return built


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        # Its socket lies in its data folder, which another user has to get to.
        Path(server.server.pgdata).chmod(0o711)
        yield server


@contextmanager
def _serving(image: Image, prefix: str, log: Path, **settings: Any) -> Iterator[tuple[int, int]]:
    """The image's own command, until it is healthy by its own check. The ports; then it has to end in good order."""
    port, admin_port = free_port(), free_port()
    settings |= {"HOST": "127.0.0.1", "PORT": port, "ADMIN_PORT": admin_port}
    how = image.how_to_run({f"{prefix}_{name}": value for name, value in settings.items()})
    with log.open("wb") as output:
        process = subprocess.Popen(image.entry_point(), **how, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or _healthy(image, how), "it is healthy")
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield port, admin_port
        process.send_signal(signal.SIGTERM)
        assert process.wait(_grace_seconds(prefix.lower())) == 0, log.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()
    assert not _healthy(image, how)


def _healthy(image: Image, how: dict[str, Any]) -> bool:
    return subprocess.run(image.health_check(), **how, capture_output=True, check=False).returncode == 0


def _grace_seconds(service: str) -> float:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return float(compose["services"][service]["stop_grace_period"].removesuffix("s"))


@pytest.fixture(scope="module")
def ports(
    issuer: Image, verifier: Image, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ports]:
    """Both sides, started in the order of compose.yaml."""
    logs, url = tmp_path_factory.mktemp("logs"), postgres.new_database()
    assert [*issuer.at("/keys/public").iterdir(), *issuer.at("/keys/private").iterdir()] == []
    for command in (["--help"], ["migrate"], *[["keys", "generate", "--if-missing"]] * 2):
        done = issuer.run(*command, ISSUER_DATABASE_URL=url)
        assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(issuer.at("/keys/private").stat().st_mode) == 0o700
    with _serving(issuer, "ISSUER", logs / "issuer", DATABASE_URL=url) as (login, issuer_admin):
        # The public half of the folder, and the lists over http.
        settings: dict[str, Any] = {
            "ISSUER": "http://127.0.0.1:8000",
            "JWKS_FILE": issuer.at("/keys/public/jwks.json"),
            "STATUS_LISTS": f"http://127.0.0.1:{login}/status-lists",
        }
        checked = verifier.run("check-config", **{f"VERIFIER_{name}": value for name, value in settings.items()})
        assert (checked.returncode, checked.stderr) == (0, "")
        assert "1 of 1 issuers have keys" in checked.stdout
        with _serving(verifier, "VERIFIER", logs / "verifier", **settings) as (verify, verifier_admin):
            yield Ports(login, issuer_admin, verify, verifier_admin)


def test_the_issuers_image_logs_people_in_for_the_verifiers_image(ports: Ports) -> None:
    there, verify = f"http://127.0.0.1:{ports.issuer}", f"http://127.0.0.1:{ports.verifier}/verify"
    assert HTTP.get(verify).status_code == 401
    assert HTTP.post(f"{there}/register", json=ACCOUNT).status_code == 201
    token = HTTP.post(f"{there}/login", json=ACCOUNT).json()["access_token"]
    answer = HTTP.get(verify, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.headers["X-Auth-Client"]) == (200, "first-party")


def test_prometheus_collects_from_both_as_it_is_told_to_in_compose(ports: Ports, tmp_path: Path) -> None:
    described = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    described["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    port = free_port()
    here = {9000: ports.issuer_admin, 9001: ports.verifier_admin, 9090: port}
    for job in described["scrape_configs"]:
        _move_here(job, here)
    for rules in described["rule_files"]:
        shutil.copy(ROOT / "deploy/prometheus" / rules, tmp_path)
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump(described), encoding="utf-8")
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, tmp_path / "prometheus.log"):
        asked = f"http://127.0.0.1:{port}/api/v1/query"
        for query in ("up == 1", "gatepass_verifier_ready == 1", "gatepass_issuer_database_up == 1"):
            jobs = {"gatepass-issuer", "gatepass-verifier", "prometheus"} if query == "up == 1" else None
            wait_until(partial(_answers, asked, query, jobs), f"Prometheus knows {query}")


def _move_here(job: dict[str, Any], here: dict[int, int]) -> None:
    """The targets of a job, by the port that they have in their containers."""
    named = [entry["port"] for entry in job.pop("dns_sd_configs", [])]
    named += [
        int(target.rpartition(":")[2]) for entry in job.get("static_configs", []) for target in entry["targets"]
    ]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{here[port]}" for port in named]}]


def _answers(asked: str, query: str, jobs: set[str] | None) -> bool:
    """Whether there are samples, and of all of the jobs if any are named."""
    try:
        answer = HTTP.get(asked, params={"query": query})
    except httpx.TransportError:
        return False
    found = answer.json()["data"]["result"] if answer.status_code == 200 else []  # it says 503 until it is ready
    return bool(found) and (jobs is None or {sample["metric"]["job"] for sample in found} == jobs)


def test_a_faulty_setting_ends_a_container_with_one_line(image: Image) -> None:
    side = "issuer" if "ISSUER_HOST" in image.environ else "verifier"
    done = image.run(**{f"{side.upper()}_PORT": "none"})
    assert done.returncode == 2
    assert f"{side.upper()}_PORT" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("side", SIDES)
def test_an_image_cannot_import_what_belongs_to_the_other_side(side: str, request: pytest.FixtureRequest) -> None:
    image: Image = request.getfixturevalue(side)
    asked = "import importlib.util as u, json, sys; print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n)]))"
    names = sorted(OF_THE_OTHER_SIDE[side] | NOBODY_NEEDS)
    command = [str(image.at("/opt/gatepass/bin/python")), "-c", asked, *names, side]
    found = subprocess.run(command, **image.how_to_run({}), capture_output=True, check=True).stdout
    assert json.loads(found) == [side]


def test_an_image_holds_no_key_no_cache_and_no_recipe(image: Image) -> None:
    for path in (path for path in image.path.rglob("*") if not path.is_relative_to(image.at("/keys"))):
        assert path.suffix not in {".pem", ".key", ".whl"}, path
        assert path.name not in {"Dockerfile", "ring.json", ".git", "private-keys.test-only.json"}, path


def test_a_build_takes_the_packages_for_traces_when_it_is_asked(tmp_path: Path) -> None:
    image = build(ROOT / "issuer/Dockerfile", tmp_path, LOCK="requirements.tracing.lock")
    packages = {_plain(package.name) for package in _packages(image)}
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "uvloop"} <= packages


def test_an_image_has_exactly_the_packages_of_its_lock(image: Image) -> None:
    lock = (image.at("/srv/gatepass") / image.entry_point()[2] / "requirements.lock").read_text(encoding="utf-8")
    locked = {
        (_plain(name), version) for name, version in re.findall(r"^(\S+?)(?:\[\S*\])?==(\S+)", lock, re.MULTILINE)
    }
    assert {(_plain(package.name), package.version) for package in _packages(image)} == locked


def _packages(image: Image) -> list[Distribution]:
    (site,) = image.at("/opt/gatepass/lib").glob("python*/site-packages")
    return list(distributions(path=[str(site)]))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(("side", "mebibytes"), [("verifier", 55), ("issuer", 115)])
def test_an_image_adds_no_more_to_its_base_than_it_did(
    side: str, mebibytes: int, request: pytest.FixtureRequest
) -> None:
    image: Image = request.getfixturevalue(side)
    assert image.size() < mebibytes << 20


def test_all_of_an_image_is_compiled_since_a_container_can_write_nothing(image: Image) -> None:
    sources = [path for path in image.at("/srv/gatepass").rglob("*.py") if path.stat().st_size]
    assert sources
    assert not [
        path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))
    ]


def test_the_user_of_an_image_can_write_nothing_but_the_keys(image: Image) -> None:
    assert image.says["USER"] == f"{USER}:{USER}"
    writable = {
        path
        for path in [image.path, *image.path.rglob("*")]
        if not path.is_symlink() and path.stat().st_mode & 0o222 and not path.is_relative_to(image.at("/keys"))
    }
    assert not writable
    attempt = [str(image.at("/opt/gatepass/bin/python")), "-c", "open('attempt', 'w')"]
    done = subprocess.run(attempt, **image.how_to_run({}), capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


def test_another_build_elsewhere_is_the_same_bytes(verifier: Image, tmp_path: Path) -> None:
    again = build(ROOT / "verifier/Dockerfile", tmp_path)
    assert _contents(again) == _contents(verifier)


def _contents(image: Image) -> dict[str, tuple[int, str]]:
    """Mode and hash of each file by its path in the image; but for the rights to write, which are taken away."""
    own_place, found = str(image.path.parent).encode(), {}
    for path in image.path.rglob("*"):
        if path.name == "RECORD":  # pip's list of hashes, among them those of scripts that name their place
            continue
        content = bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(content.replace(own_place, b"")).hexdigest()
        found[str(path.relative_to(image.path))] = (path.lstat().st_mode & ~0o222, digest)
    return found
