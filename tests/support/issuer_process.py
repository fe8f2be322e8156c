"""The real `python -m issuer`, as an operator runs it."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.status_list import decode
from tests.support import forks
from tests.support.inherited_sockets import InheritedSocket, port_of
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.releases import CURRENT, Release
from tests.support.services import Service, environment, started
from tests.support.signing_keys import generate_key
from tests.support.token_forge import claims_of

PASSWORD = "a long and lonely walk"


def issuer_command(*arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m issuer …` to its end. `settings` are variables without their prefix."""
    return forks.run("issuer", arguments, environment("issuer", settings), stdin.encode(errors="surrogateescape"))


@dataclass(frozen=True, kw_only=True)
class IssuerProcess(Service):
    """A running `python -m issuer serve`."""

    url: str
    keys_dir: Path
    database_url: str

    @property
    def port(self) -> int:
        """Return the port of the public listener."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def verifier_settings(self) -> dict[str, Any]:
        """Return the settings of a verifier that follows this issuer over HTTP."""
        return {
            "ISSUER": self.url,
            "JWKS_URL": f"{self.url}/.well-known/jwks.json",
            "STATUS_LISTS": f"{self.url}/status-lists",
        }

    def metric(self, name: str) -> float:
        """Return the value of a series, named as in /metrics; 0 if it does not exist."""
        lines = self.admin("/metrics").text.splitlines()
        return float(next((line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{name} ")), 0))

    def bit(self, uri: str, index: int) -> bool:
        """Return whether the published status list at `uri` has this bit set."""
        return bool(decode(claims_of(HTTP.get(uri).text)["status_list"]["lst"])[index >> 3] >> (index & 7) & 1)

    def register(self, email: str, password: str = PASSWORD) -> httpx.Response:
        """POST /register."""
        return HTTP.post(f"{self.url}/register", json={"email": email, "password": password})

    def login(self, email: str, password: str = PASSWORD) -> httpx.Response:
        """POST /login."""
        return HTTP.post(f"{self.url}/login", json={"email": email, "password": password})

    def refresh(self, token: str, **form: str) -> httpx.Response:
        """POST /token with a refresh token."""
        form = {"grant_type": "refresh_token", "refresh_token": token} | form
        return HTTP.post(f"{self.url}/token", data=form)

    def request(self, method: str, path: str, access_token: str, **options: Any) -> httpx.Response:
        """Send a request with an access token."""
        headers = {"Authorization": f"Bearer {access_token}"}
        return HTTP.request(method, self.url + path, headers=headers, **options)

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


@contextmanager
def running_issuer(
    database_url: str,
    keys_dir: Path | None = None,
    *,
    ready: int = 200,
    inherited: Sequence[InheritedSocket] = (),
    release: Release = CURRENT,
    **settings: str,
) -> Iterator[IssuerProcess]:
    """Run an issuer with a new signing key, or with the keys of `keys_dir`.

    Args:
        database_url: at the head revision, unless `ready` says otherwise.
        ready: the status of /readyz to wait for.
        inherited: sockets that are passed to it as systemd does.
        settings: further variables, without their prefix.
    """
    with tempfile.TemporaryDirectory(prefix="gatepass-issuer-") as folder:
        if keys_dir is None:
            keys_dir = Path(folder) / "keys"
            generate_key(keys_dir, datetime.now(UTC))
        port, admin_port = port_of(inherited, "public"), port_of(inherited, "admin")
        url, log_file = f"http://127.0.0.1:{port}", Path(folder) / "issuer.log"
        values = {
            "PORT": port,
            "ADMIN_PORT": admin_port,
            "URL": url,
            "DATABASE_URL": database_url,
            "KEYS_DIR": keys_dir,
            # All tests come from one address.
            "LOGIN_FAILURES_PER_IP": 1_000_000,
            "REQUESTS_PER_IP": 1_000_000,
        } | settings
        with started("issuer", values, log_file, inherited, release) as process:
            issuer = IssuerProcess(
                process=process,
                admin_port=admin_port,
                log_file=log_file,
                url=url,
                keys_dir=keys_dir,
                database_url=database_url,
            )
            issuer.wait_until_readiness_is(ready)
            yield issuer


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    """Yield an issuer for the tests of a module, with its own database."""
    with postgres.temporary_database() as url, running_issuer(url) as process:
        yield process
