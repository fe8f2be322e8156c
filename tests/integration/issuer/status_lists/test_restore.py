"""An older database is restored under a running issuer: tokens that are valid again, and their revocation."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.processes import wait_until
from tests.support.verifier_process import VerifierFolder, VerifierProcess

BOUND_SECONDS = 15.0


def copy_database(postgres: Postgres, source: str, target: str) -> None:
    """Copy a database as dump and restore do. Connections to the source are closed."""
    execute(postgres.url(), f"ALTER DATABASE {source} ALLOW_CONNECTIONS false")
    execute(postgres.url(), "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", source)
    execute(postgres.url(), f"CREATE DATABASE {target} TEMPLATE {source}")
    execute(postgres.url(), f"ALTER DATABASE {source} ALLOW_CONNECTIONS true")


@dataclass
class Scene:
    """An issuer, a verifier of its tokens, and the tokens of users and a client.

    Attributes:
        held: the tokens of each login, by a name.
        machine: credentials of a client.
        machine_tokens: access tokens of that client.
    """

    postgres: Postgres
    issuer: IssuerProcess
    verifier: VerifierProcess
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    machine: tuple[str, str] = ("", "")
    machine_tokens: list[str] = field(default_factory=list)

    @property
    def database(self) -> str:
        return urlsplit(self.issuer.database_url).path.removeprefix("/")

    def command(self, *arguments: str, database_url: str = "") -> subprocess.CompletedProcess[str]:
        url = database_url or self.issuer.database_url
        done = issuer_command(*arguments, KEYS_DIR=str(self.issuer.keys_dir), DATABASE_URL=url, URL=self.issuer.url)
        assert done.returncode == 0, done.stderr
        return done

    def log_in(self, name: str, email: str) -> None:
        wait_until(lambda: self._logs_in(name, email), f"{name} logs in", BOUND_SECONDS)

    def _logs_in(self, name: str, email: str) -> bool:
        response = self.issuer.login(email)
        assert response.status_code in {200, 503}, response.text
        if response.status_code == 200:
            self.held[name] = response.json()
        return response.status_code == 200

    def grant(self) -> None:
        wait_until(self._granted, "the client has a token", BOUND_SECONDS)

    def _granted(self) -> bool:
        form = {"grant_type": "client_credentials"}
        response = HTTP.post(f"{self.issuer.url}/token", data=form, auth=self.machine)
        if response.status_code == 200:
            self.machine_tokens.append(response.json()["access_token"])
        return response.status_code == 200

    def log_out(self, name: str) -> None:
        assert self.issuer.request("POST", "/logout", self.held[name]["access_token"]).status_code == 204

    def passes(self, token: str) -> int:
        return self.verifier.ask(token=token.encode()).status

    def access_tokens(self) -> list[str]:
        return [tokens["access_token"] for tokens in self.held.values()] + self.machine_tokens

    def wait_until_pass(self, status: int, *tokens: str) -> None:
        wait_until(lambda: {self.passes(token) for token in tokens} == {status}, f"all are {status}", BOUND_SECONDS)

    def refresh(self, name: str) -> httpx.Response:
        return self.issuer.refresh(self.held[name]["refresh_token"])

    def restore(self, backup: str) -> str:
        """Replace the database by the backup; return the URL of the lost one."""
        lost = f"{self.database}_lost"
        execute(self.postgres.url(), f"ALTER DATABASE {self.database} ALLOW_CONNECTIONS false")
        kill = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
        execute(self.postgres.url(), kill, self.database)
        execute(self.postgres.url(), f"ALTER DATABASE {self.database} RENAME TO {lost}")
        execute(self.postgres.url(), f"ALTER DATABASE {lost} ALLOW_CONNECTIONS true")
        execute(self.postgres.url(), f"CREATE DATABASE {self.database} TEMPLATE {backup}")
        self.issuer.wait_until_readiness_is(200)
        return self.postgres.url(lost)


@pytest.fixture
def scene(postgres: Postgres, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        running_issuer(database_url) as issuer,
        VerifierFolder(tmp_path_factory.mktemp("verifier")).running(**issuer.verifier_settings) as verifier,
    ):
        yield Scene(postgres, issuer, verifier)


def test_after_a_restore_one_command_revokes_everything(scene: Scene) -> None:
    for email in ("ann@example.com", "bob@example.com"):
        assert scene.issuer.register(email).status_code == 201
    for name, email in {"logged out": "ann", "untouched": "ann", "disabled": "bob"}.items():
        scene.log_in(name, f"{email}@example.com")
    made = json.loads(scene.command("clients", "create", "reporting", "--json").stdout)
    scene.machine = (made["id"], made["secret"])
    scene.grant()
    backup = f"{scene.database}_backup"
    copy_database(scene.postgres, scene.database, backup)
    scene.issuer.wait_until_readiness_is(200)

    # What happens after the backup, and is lost with the database.
    scene.log_in("later, logged out", "ann@example.com")
    scene.log_in("later", "ann@example.com")
    scene.log_out("logged out")
    scene.log_out("later, logged out")
    bob = json.loads(scene.command("users", "show", "bob@example.com", "--json").stdout)["id"]
    scene.command("users", "disable", bob)
    scene.command("clients", "disable", made["id"])
    revoked = [scene.held[name]["access_token"] for name in ("logged out", "later, logged out", "disabled")]
    scene.wait_until_pass(401, *revoked, *scene.machine_tokens)

    lost = scene.restore(backup)
    scene.wait_until_pass(200, *revoked, *scene.machine_tokens)
    assert scene.refresh("logged out").status_code == 200

    counted = json.loads(scene.command("sessions", "revoke-all", "--json").stdout)
    assert (counted["state"], counted["sessions"], counted["clients"]) == ("live", 3, 1)
    assert scene.refresh("untouched").status_code == 200

    done = json.loads(scene.command("sessions", "revoke-all", "--yes", "--json").stdout)
    assert (done["state"], done["sessions"], done["clients"]) == ("revoked", 3, 1)
    scene.wait_until_pass(401, *scene.access_tokens())
    assert {scene.refresh(name).status_code for name in scene.held} == {400}
    [event] = execute(scene.issuer.database_url, "SELECT * FROM audit_events WHERE kind = 'everything_revoked'")
    assert json.loads(event["detail"]) == {"sessions": 3, "clients": 1, "one_time_tokens": 0}

    # Accounts that were disabled are known from the audit trail of the database that was lost, or a copy of it.
    results = scene.command("audit", "list", "--kind", "account_disabled", "--json", database_url=lost).stdout
    for line in results.splitlines():
        scene.command("users", "disable", json.loads(line)["user_id"])
    assert scene.issuer.login("bob@example.com").status_code == 401

    old = scene.access_tokens()
    scene.log_in("new", "ann@example.com")
    scene.grant()
    scene.wait_until_pass(200, scene.held["new"]["access_token"], scene.machine_tokens[-1])
    assert scene.refresh("new").status_code == 200
    assert {scene.passes(token) for token in old} == {401}
