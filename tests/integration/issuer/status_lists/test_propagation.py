"""Each kind of revocation reaches a real verifier through the published status list."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess, issuer_command, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import wait_until
from tests.support.verifier_process import VerifierFolder, VerifierProcess

BOUND_SECONDS = 10.0
"""Far more than the promised 3 s: the test checks that it happens, and `make promises` measures the time."""


@dataclass(frozen=True)
class Site:
    """An issuer, and a verifier that follows it over HTTP."""

    issuer: IssuerProcess
    verifier: VerifierProcess

    def passes(self, token: str) -> int:
        return self.verifier.ask(token=token.encode()).status

    def wait_until_rejected(self, token: str) -> None:
        wait_until(lambda: self.passes(token) == 401, "the verifier rejects it", BOUND_SECONDS)

    def command(self, *arguments: str) -> str:
        keys, database = str(self.issuer.keys_dir), self.issuer.database_url
        done = issuer_command(*arguments, KEYS_DIR=keys, DATABASE_URL=database, URL=self.issuer.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, method: str, path: str, token: str, **options: Any) -> int:
        return self.issuer.request(method, path, token, **options).status_code


@dataclass(frozen=True)
class Person:
    """A user with a new session."""

    email: str
    access_token: str
    refresh_token: str


@pytest.fixture(scope="module")
def site(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("verifier")
    with (
        running_issuer(postgres.migrated_database()) as issuer,
        VerifierFolder(folder).running(**issuer.verifier_settings) as verifier,
    ):
        yield Site(issuer, verifier)


def logout(site: Site, person: Person) -> None:
    assert site.ask("POST", "/logout", person.access_token) == 204


def reuse(site: Site, person: Person) -> None:
    token = person.refresh_token
    for expected in (200, 200, 400):
        response = site.issuer.refresh(token)
        assert response.status_code == expected
        # The first, its successor, and then the first again, whose successor was used.
        token = response.json().get("refresh_token", "") if token == person.refresh_token else person.refresh_token


def password_change(site: Site, person: Person) -> None:
    other = site.issuer.login(person.email).json()["access_token"]
    body = {"current_password": PASSWORD, "new_password": "another long and lonely walk"}
    assert site.ask("POST", "/password", other, json=body) == 204
    assert site.passes(other) == 200


def deletion(site: Site, person: Person) -> None:
    assert site.ask("DELETE", "/me", person.access_token, json={"password": PASSWORD}) == 204


def disabling(site: Site, person: Person) -> None:
    account = json.loads(site.command("users", "show", person.email, "--json"))["id"]
    site.command("users", "disable", account)


def an_operators_command(site: Site, person: Person) -> None:
    account = json.loads(site.command("users", "show", person.email, "--json"))["id"]
    (session,) = site.command("sessions", "list", "--user", account, "--json").splitlines()
    site.command("sessions", "revoke", json.loads(session)["id"])


def revocation(site: Site, person: Person) -> None:
    form = {"token": person.refresh_token, "client_id": "first-party"}
    assert HTTP.post(f"{site.issuer.url}/revoke", data=form).status_code == 200


@pytest.mark.parametrize(
    "end", [logout, reuse, password_change, deletion, disabling, an_operators_command, revocation]
)
def test_every_kind_of_revocation_reaches_the_verifier(site: Site, end: Callable[[Site, Person], None]) -> None:
    email = f"{end.__name__}@example.com"
    assert site.issuer.register(email).status_code == 201
    login = site.issuer.login(email).json()
    person = Person(email, login["access_token"], login["refresh_token"])
    bystander = site.issuer.token(f"not-{email}")
    assert (site.passes(person.access_token), site.passes(bystander)) == (200, 200)
    end(site, person)
    site.wait_until_rejected(person.access_token)
    assert site.passes(bystander) == 200


def test_a_disabled_client_is_rejected_and_an_enabled_one_gets_a_new_token(
    site: Site,
) -> None:
    made = json.loads(site.command("clients", "create", "reporting", "--json"))

    def grant() -> str:
        form = {"grant_type": "client_credentials"}
        token: str = HTTP.post(f"{site.issuer.url}/token", data=form, auth=(made["id"], made["secret"])).json()[
            "access_token"
        ]
        return token

    first = grant()
    assert site.passes(first) == 200
    site.command("clients", "disable", made["id"])
    site.wait_until_rejected(first)
    site.command("clients", "enable", made["id"])
    wait_until(lambda: site.passes(grant()) == 200, "a new token passes", BOUND_SECONDS)
    assert site.passes(first) == 401
