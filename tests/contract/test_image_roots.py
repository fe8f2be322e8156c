"""What the images hold and run: their Dockerfiles followed in plain folders, and the entry points started there."""

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.image_root import USER, Image, build, image_root
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, running_postgres
from tests.support.processes import ROOT, free_port, wait_until
from tests.support.token_forge import AUDIENCE, Forge

SIDES: Final = ("issuer", "verifier")
OF_THE_OTHER_SIDE: Final = {
    "issuer": {"verifier", "stack"},
    "verifier": {"issuer", "stack", "asyncpg", "argon2", "bcrypt", "starlette", "sqlalchemy", "alembic", "jwt"},
}
NOBODY_NEEDS: Final = {"pip", "setuptools", "wheel", "pytest", "tests", "loadtests"}
ACCOUNT: Final = {"email": "ada@example.com", "password": "seven quiet green rivers"}


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


def test_the_verifiers_image_checks_its_configuration_and_answers_gateways(verifier: Image, tmp_path: Path) -> None:
    forge = Forge()
    with _readable_folder() as folder:
        (folder / "jwks.json").write_bytes(forge.jwks)
        settings = {"ISSUER": forge.issuer, "AUDIENCE": AUDIENCE, "JWKS_FILE": folder / "jwks.json"}
        checked = verifier.run("check-config", **{f"VERIFIER_{name}": value for name, value in settings.items()})
        assert (checked.returncode, checked.stderr) == (0, "")
        assert "1 of 1 issuers have keys" in checked.stdout
        with _serving(verifier, "VERIFIER", tmp_path / "log", **settings) as (port, admin_port):
            where = f"http://127.0.0.1:{port}/verify"
            assert HTTP.get(where).status_code == 401
            token = forge.token(time.time()).decode()
            assert HTTP.get(where, headers={"Authorization": f"Bearer {token}"}).status_code == 200
            assert "gatepass_verifier_ready 1.0" in HTTP.get(f"http://127.0.0.1:{admin_port}/metrics").text


def test_the_issuers_image_makes_keys_migrates_and_logs_people_in_for_the_verifiers(
    issuer: Image, verifier: Image, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    assert [*issuer.at("/keys/public").iterdir(), *issuer.at("/keys/private").iterdir()] == []
    for command in (["--help"], ["keys", "generate", "--if-missing"], ["keys", "generate", "--if-missing"], ["migrate"]):
        done = issuer.run(*command, ISSUER_DATABASE_URL=url)
        assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(issuer.at("/keys/private").stat().st_mode) == 0o700
    with _serving(issuer, "ISSUER", tmp_path / "issuer.log", DATABASE_URL=url) as (port, _):
        there = f"http://127.0.0.1:{port}"
        assert HTTP.post(f"{there}/register", json=ACCOUNT).status_code == 201
        token = HTTP.post(f"{there}/login", json=ACCOUNT).json()["access_token"]
        # As compose has it: the public half of the folder, and the lists over http.
        settings = {
            "ISSUER": "http://127.0.0.1:8000",
            "JWKS_FILE": issuer.at("/keys/public/jwks.json"),
            "STATUS_LISTS": f"{there}/status-lists",
        }
        with _serving(verifier, "VERIFIER", tmp_path / "verifier.log", **settings) as (asked, _):
            answer = HTTP.get(f"http://127.0.0.1:{asked}/verify", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
            assert answer.headers["X-Auth-Client"] == "first-party"


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


def test_an_image_has_exactly_the_packages_of_its_lock(image: Image) -> None:
    lock = (image.at("/srv/gatepass") / image.entry_point()[2] / "requirements.lock").read_text(encoding="utf-8")
    locked = {(_plain(name), version) for name, version in re.findall(r"^(\S+?)(?:\[\S*\])?==(\S+)", lock, re.MULTILINE)}
    assert {(_plain(package.name), package.version) for package in _packages(image)} == locked


def _packages(image: Image) -> list[Distribution]:
    (site,) = image.at("/opt/gatepass/lib").glob("python*/site-packages")
    return list(distributions(path=[str(site)]))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_of_an_image_is_compiled_since_a_container_can_write_nothing(image: Image) -> None:
    sources = [path for path in image.at("/srv/gatepass").rglob("*.py") if path.stat().st_size]
    assert sources
    assert not [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))]


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


def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    assert _fingerprint(tmp_path / "root") == _fingerprint(tmp_path / "root")


def _fingerprint(folder: Path) -> str:
    """Names, kinds, modes and contents of all files; in one place, since paths are in compiled files."""
    folder.mkdir()
    image = build(ROOT / "verifier/Dockerfile", folder)
    digest = hashlib.sha256()
    for path in sorted(image.path.rglob("*")):
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        entry = (str(path.relative_to(folder)), path.lstat().st_mode, hashlib.sha256(content).hexdigest())
        digest.update(repr(entry).encode())
    shutil.rmtree(folder)
    return digest.hexdigest()


@contextmanager
def _readable_folder() -> Iterator[Path]:
    """A folder that another user may read: pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="gatepass-mounted-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
