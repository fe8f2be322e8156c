"""`make dist`: each program is one file that needs only Python."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from shared.version import VERSION
from tests.support.documents import git
from tests.support.plain_http import HTTP, get_status
from tests.support.postgres import running_postgres
from tests.support.processes import ROOT, finished, free_port, wait_until_ready

PROGRAMS: Final = ("issuer", "verifier", "doctor")
BUILD: Final = [sys.executable, str(ROOT / "deploy/build_executables.py"), "--output"]
OWN: Final = {"_bootstrap", "bin", "pyproject.toml", "shared"}
FOREIGN: Final = {
    "issuer": {"verifier", "doctor", "stack", "tests", "loadtests", "pip", "pytest"},
    "verifier": {
        "issuer",
        "doctor",
        "tests",
        "asyncpg",
        "argon2",
        "bcrypt",
        "starlette",
        "sqlalchemy",
        "alembic",
        "jwt",
    },
    "doctor": {"issuer", "verifier", "tests", "asyncpg", "argon2", "cryptography", "pydantic"},
}
DATA: Final = {".sql", ".toml", ".json", ".txt", ".py"}
ACCOUNT: Final = {"email": "ada@example.com", "password": "seven quiet green rivers"}


@dataclass(frozen=True)
class Folder:
    """An empty folder in which the executables run, without the environment of this process."""

    path: Path
    executables: Path

    def environment(self, settings: dict[str, Any]) -> dict[str, str]:
        own = {"PATH": f"{self.executables / 'python'}:/usr/bin:/bin", "HOME": str(self.executables / "home")}
        return own | {name: str(value) for name, value in settings.items()}

    def run(
        self, program: str, *arguments: str, stdin: str = "", **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        command = [str(self.executables / f"gatepass-{program}"), *arguments]
        return finished(command, folder=self.path, environ=self.environment(settings), stdin=stdin)

    @contextmanager
    def serving(self, program: str, **settings: Any) -> Iterator[str]:
        """Run `serve`, wait until it is ready, and yield its URL."""
        port, admin_port, log = free_port(), free_port(), self.path.parent / f"{program}.log"
        given = {"HOST": "127.0.0.1", "PORT": port, "ADMIN_PORT": admin_port} | settings
        environment = self.environment({f"{program.upper()}_{name}": value for name, value in given.items()})
        command = [str(self.executables / f"gatepass-{program}"), "serve"]
        with log.open("wb") as output:
            process = subprocess.Popen(command, cwd=self.path, env=environment, stdout=output, stderr=output)
        try:
            ready = f"http://127.0.0.1:{admin_port}/readyz"
            wait_until_ready(process, lambda: get_status(ready) == 200, log, 60)
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            assert process.wait(30) == 0, log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the three files and a link to Python outside of its virtual environment."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([*BUILD, str(folder)], check=True, timeout=100)
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "python").mkdir()
    for link in (name, "python3"):
        (folder / "python" / link).symlink_to(Path(sys.base_prefix, "bin", name))
    return folder


@pytest.fixture
def folder(executables: Path, tmp_path: Path) -> Folder:
    (tmp_path / "empty").mkdir()
    return Folder(tmp_path / "empty", executables)


def _contents(executable: Path) -> set[str]:
    """Return the unpacked files, relative to the folder of the packages."""
    with zipfile.ZipFile(executable) as archive:
        return {name.removeprefix("site-packages/") for name in archive.namelist()}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_executable_prints_the_version_and_help_under_its_own_name(program: str, folder: Folder) -> None:
    done = folder.run(program, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gatepass {VERSION}\n", "")
    assert folder.run(program, "--help").stdout.startswith(f"usage: gatepass-{program} ")
    assert not list(folder.path.iterdir())


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_executable_has_all_of_its_own_files_and_none_of_the_others(program: str, executables: Path) -> None:
    contents = _contents(executables / f"gatepass-{program}")
    tops = {name.split("/")[0] for name in contents}
    assert tops >= OWN - {"_bootstrap"} | {program}
    assert not tops & FOREIGN[program]
    tracked = git("ls-files", "shared", program).stdout.split()
    assert {name for name in tracked if Path(name).suffix in DATA} <= contents
    assert not [name for name in contents if name.endswith((".lock", "Dockerfile", ".pem", ".pyc", "/RECORD"))]


@pytest.mark.parametrize("program", ["verifier", "doctor"])
def test_the_same_commit_gives_the_same_bytes(program: str, executables: Path, tmp_path: Path) -> None:
    os.utime(ROOT / program / "__init__.py")  # the time of a checkout is no part of it
    subprocess.run([*BUILD, str(tmp_path), program], check=True, timeout=100, umask=0o077, cwd=tmp_path)
    name = f"gatepass-{program}"
    assert (tmp_path / name).read_bytes() == (executables / name).read_bytes()


def test_an_executable_names_the_python_that_it_needs(folder: Folder) -> None:
    folder.run("verifier", "--version")
    (start,) = folder.executables.glob("home/.cache/gatepass/gatepass-verifier_*/site-packages/bin/gatepass_start.py")
    other = "import runpy, sys, sysconfig; sysconfig.get_config_var = lambda _: 'other'; runpy.run_path(sys.argv[1])"
    done = finished([sys.executable, "-c", other, str(start)])
    assert done.returncode == 1
    assert f"was built for {sysconfig.get_config_var('SOABI')}, and this Python is other" in done.stderr


def test_a_login_at_the_issuer_passes_the_verifier(folder: Folder, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    with running_postgres() as postgres:
        settings: dict[str, Any] = {"DATABASE_URL": postgres.new_database(), "KEYS_DIR": keys}
        environment = {f"ISSUER_{name}": value for name, value in settings.items()}
        for command in ("migrate", "keys generate --if-missing"):
            done = folder.run("issuer", *command.split(), **environment)
            assert done.returncode == 0, done.stderr
        with folder.serving("issuer", **settings) as url:
            assert HTTP.post(f"{url}/register", json=ACCOUNT).status_code == 201
            token = HTTP.post(f"{url}/login", json=ACCOUNT).json()["access_token"]
            settings = {
                "ISSUER": "http://127.0.0.1:8000",
                "JWKS_FILE": keys / "public/jwks.json",
                "STATUS_LISTS": f"{url}/status-lists",
            }
            environment = {f"VERIFIER_{name}": value for name, value in settings.items()}
            done = folder.run("verifier", "check-config", **environment)
            assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 of 1 issuers have keys"), done.stderr
            with folder.serving("verifier", **settings) as verify:
                assert HTTP.get(f"{verify}/verify").status_code == 401
                response = HTTP.get(f"{verify}/verify", headers={"Authorization": f"Bearer {token}"})
                assert (response.status_code, response.headers["X-Auth-Client"]) == (200, "first-party")
                tested = folder.run("doctor", f"{verify}/verify", "--allow-http", "--json", stdin=token)
    # The verifier by itself has no application behind it that shows what it receives.
    assert tested.returncode == 1, tested.stderr
    assert '"valid-token"' in tested.stdout
    assert not list(folder.path.iterdir())
