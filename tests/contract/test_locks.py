"""Each service runs with the packages of its own lock and with nothing of the other service."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from packaging.requirements import Requirement

from tests.support.plain_http import HTTP
from tests.support.postgres import running_postgres
from tests.support.processes import ROOT, free_port, wait_until

SIDES: Final = ("issuer", "verifier")
FOREIGN: Final = {
    "issuer": ["verifier", "stack", "pip", "pytest", "tests", "loadtests"],
    "verifier": [
        "issuer",
        "asyncpg",
        "argon2",
        "bcrypt",
        "starlette",
        "sqlalchemy",
        "alembic",
        "jwt",
        "pip",
        "tests",
    ],
}
ACCOUNT: Final = {"email": "ada@example.com", "password": "seven quiet green rivers"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each service a folder with what its image copies: the locked packages, `shared` and itself."""
    folders = {side: tmp_path_factory.mktemp(side) for side in SIDES}
    for side, folder in folders.items():
        lock = (ROOT / side / "requirements.lock").read_text(encoding="utf-8")
        for line in re.findall(r"^(\S+==.*?) *\\?$", lock, re.MULTILINE):
            _copy_package(Requirement(line), folder)
        for package in ("shared", side):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
    return folders


def _copy_package(locked: Requirement, folder: Path) -> None:
    if locked.marker is not None and not locked.marker.evaluate():
        return
    installed = distribution(locked.name)
    assert locked.specifier.contains(installed.version), f"{locked} is locked, {installed.version} is installed"
    for file in installed.files or ():
        if file.suffix != ".pyc" and ".." not in file.parts:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), folder / file)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-S", *arguments]  # -S: without the packages of the tests' environment


def _environment(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)} | {name: str(v) for name, v in settings.items()}


def _run(folder: Path, *arguments: str, **settings: Any) -> str:
    environment = _environment(folder, settings)
    return subprocess.run(_command(*arguments), cwd=folder, env=environment, stdout=-1, text=True, check=True).stdout


@contextmanager
def _serving(folder: Path, side: str, log: Path, **settings: Any) -> Iterator[str]:
    """Run the command of the image; yield its URL."""
    port, admin_port = free_port(), free_port()
    settings |= {"HOST": "127.0.0.1", "PORT": port, "ADMIN_PORT": admin_port}
    environment = _environment(folder, {f"{side.upper()}_{name}": value for name, value in settings.items()})
    with log.open("wb") as output:
        command = _command("-m", side, "serve")
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or _is_ready(admin_port), f"{side} is ready")
        assert process.poll() is None, log.read_text(encoding="utf-8")
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        assert process.wait(30) == 0, log.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


def _is_ready(admin_port: int) -> bool:
    try:
        return HTTP.get(f"http://127.0.0.1:{admin_port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("side", SIDES)
def test_a_service_finds_no_package_of_the_other(side: str, folders: dict[str, Path]) -> None:
    found = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    assert _run(folders[side], "-c", found, *FOREIGN[side], side) == f"{side}\n"


def test_a_login_at_the_issuer_passes_the_verifier(folders: dict[str, Path], tmp_path: Path) -> None:
    issuer, keys = folders["issuer"], tmp_path / "keys"
    with running_postgres() as postgres:
        settings: dict[str, Any] = {"DATABASE_URL": postgres.new_database(), "KEYS_DIR": keys}
        for command in ("migrate", "keys generate --if-missing"):
            _run(issuer, "-m", "issuer", *command.split(), **{f"ISSUER_{name}": v for name, v in settings.items()})
        with _serving(issuer, "issuer", tmp_path / "issuer.log", **settings) as url:
            assert HTTP.post(f"{url}/register", json=ACCOUNT).status_code == 201
            token = HTTP.post(f"{url}/login", json=ACCOUNT).json()["access_token"]
            settings = {
                "ISSUER": "http://127.0.0.1:8000",
                "JWKS_FILE": keys / "public/jwks.json",
                "STATUS_LISTS": f"{url}/status-lists",
            }
            with _serving(folders["verifier"], "verifier", tmp_path / "verifier.log", **settings) as verify:
                assert HTTP.get(f"{verify}/verify").status_code == 401
                response = HTTP.get(f"{verify}/verify", headers={"Authorization": f"Bearer {token}"})
                assert (response.status_code, response.headers["X-Auth-Client"]) == (200, "first-party")
