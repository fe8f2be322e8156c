"""The real `python -m issuer`, as an operator runs it."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from shared.status_list import decode
from tests.support import forks
from tests.support.forks import Process
from tests.support.inherited_sockets import InheritedSocket, port_of, start_as_systemd
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.releases import CURRENT, Release
from tests.support.signing_keys import generate_key

START_SECONDS = 30.0
PASSWORD = "a long and lonely walk"


def issuer_command(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m issuer …` to its end. `settings` are variables without their prefix."""
    return forks.run("issuer", arguments, environment_of(settings), stdin.encode(errors="surrogateescape"))


@dataclass(frozen=True)
class IssuerProcess:
    """A running `python -m issuer serve`."""

    process: Process
    url: str
    admin_url: str
    keys_dir: Path
    database_url: str
    log_file: Path

    @property
    def port(self) -> int:
        """Return the port of the public listener."""
        return int(self.url.rsplit(":", 1)[1])

    def logs(self) -> str:
        """Return all output so far."""
        return self.log_file.read_text(encoding="utf-8")

    def readiness(self) -> int:
        """Return the status of /readyz; 0 if nothing listens."""
        try:
            return HTTP.get(f"{self.admin_url}/readyz", timeout=5).status_code
        except httpx.TransportError:
            return 0

    def wait_until_readiness_is(self, status: int) -> None:
        """Wait until /readyz has this status."""
        deadline = time.monotonic() + START_SECONDS
        while self.readiness() != status:
            if self.process.poll() is not None:
                raise AssertionError(f"the issuer ended with {self.process.returncode}: {self.logs()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"readiness is not {status}: {self.logs()}")
            time.sleep(0.05)

    def metric(self, name: str) -> float:
        """Return the value of a series, named as in /metrics; 0 if it does not exist."""
        lines = HTTP.get(f"{self.admin_url}/metrics").text.splitlines()
        return float(next((line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{name} ")), 0))

    def bit(self, uri: str, index: int) -> bool:
        """Return whether the published status list at `uri` has this bit set."""
        claims = jwt.decode(HTTP.get(uri).text, options={"verify_signature": False})  # noqa: TID251 - looks inside
        return bool(decode(claims["status_list"]["lst"])[index >> 3] >> (index & 7) & 1)

    def register(self, email: str, password: str = PASSWORD) -> httpx.Response:
        """POST /register."""
        return HTTP.post(f"{self.url}/register", json={"email": email, "password": password}, timeout=30)

    def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        """POST /login."""
        return HTTP.post(f"{self.url}/login", json={"email": email, "password": password}, timeout=30)

    def refresh(self, token: str) -> httpx.Response:
        """POST /token with a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return HTTP.post(f"{self.url}/token", data=form, timeout=30)

    def request(self, method: str, path: str, access_token: str) -> httpx.Response:
        """Send a request with an access token."""
        return HTTP.request(method, self.url + path, headers={"Authorization": f"Bearer {access_token}"}, timeout=30)

    def session(self, email: str | None = None) -> dict[str, Any]:
        """Register, unless the email is registered, and log in; return the token response. The default email is
        new."""
        email = email or f"{uuid4().hex}@example.com"
        self.register(email)
        tokens: dict[str, Any] = self.login(email).json()
        return tokens

    def token(self, email: str) -> str:
        """Register and log in; return the access token."""
        assert self.register(email).status_code == 201
        token: str = self.login(email).json()["access_token"]
        return token

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout=15)


def running_issuer(
    database_url: str,
    keys_dir: Path | None = None,
    *,
    ready: int = 200,
    program: str = "issuer",
    **settings: str,
) -> AbstractContextManager[IssuerProcess]:
    """Run an issuer with a new signing key, or with the keys of `keys_dir`.

    Args:
        database_url: at the head revision, unless `ready` says otherwise.
        keys_dir: an existing keys folder.
        ready: the status of /readyz to wait for.
        program: the module that is run, with its arguments.
        settings: further variables, without their prefix.
    """
    return running_issuer_on((), database_url, keys_dir, settings, ready=ready, program=program)


@contextmanager
def running_issuer_on(
    inherited: Sequence[InheritedSocket],
    database_url: str,
    keys_dir: Path | None,
    settings: Mapping[str, str],
    *,
    ready: int = 200,
    program: str = "issuer",
    release: Release = CURRENT,
) -> Iterator[IssuerProcess]:
    """Do the same with inherited sockets, as under systemd, or with another release."""
    with tempfile.TemporaryDirectory(prefix="gatepass-issuer-") as folder:
        if keys_dir is None:
            keys_dir = Path(folder) / "keys"
            generate_key(keys_dir, datetime.now(UTC))
        port, admin_port = port_of(inherited, "public"), port_of(inherited, "admin")
        settings = {
            "PORT": str(port),
            "ADMIN_PORT": str(admin_port),
            "URL": f"http://127.0.0.1:{port}",
            "DATABASE_URL": database_url,
            "KEYS_DIR": str(keys_dir),
            # All tests come from one address.
            "LOGIN_FAILURES_PER_IP": "1000000",
            "REQUESTS_PER_IP": "1000000",
        } | dict(settings)
        log_file = Path(folder) / "issuer.log"
        with log_file.open("wb") as log:
            process: Process
            if program == "issuer" and not inherited and release is CURRENT:
                process = forks.start("issuer", ["serve"], environment_of(settings), log)
            else:
                command = [release.python, "-m", *program.split(), "serve"]
                process = start_as_systemd(command, inherited, environment_of(settings), log, release.tree)
        issuer = IssuerProcess(
            process,
            f"http://127.0.0.1:{port}",
            f"http://127.0.0.1:{admin_port}",
            keys_dir,
            database_url,
            log_file,
        )
        try:
            issuer.wait_until_readiness_is(ready)
            yield issuer
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def environment_of(settings: dict[str, str]) -> dict[str, str]:
    """Return an environment without the caller's own settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ISSUER_")}
    return own | {f"ISSUER_{name}": value for name, value in settings.items()}


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    """Yield an issuer for the tests of a module, with its own database."""
    with postgres.temporary_database() as url, running_issuer(url) as process:
        yield process
