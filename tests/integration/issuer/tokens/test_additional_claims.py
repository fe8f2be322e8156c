"""Additional claims that an operator sets for accounts and clients appear in tokens."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.issuer.accounts.test_user_import import FOREIGN
from tests.support.issuer_process import PASSWORD, IssuerProcess, issuer_command, running_issuer
from tests.support.machines import Machine
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.token_forge import claims_of
from tests.support.verifier_process import VerifierFolder

CONFIGURED = "tenant:string, seats:number, beta:boolean, https://acme.example/teams:strings"
TEAMS = "https://acme.example/teams"


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database(), ADDITIONAL_CLAIMS=CONFIGURED) as process:
        yield process


def command(
    issuer: IssuerProcess, *arguments: str, stdin: str = "", configured: str = CONFIGURED
) -> subprocess.CompletedProcess[str]:
    settings = {"DATABASE_URL": issuer.database_url, "URL": issuer.url, "ADDITIONAL_CLAIMS": configured}
    return issuer_command(*arguments, stdin=stdin, **settings)


def run(issuer: IssuerProcess, *arguments: str, **options: str) -> dict[str, Any]:
    done = command(issuer, *arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def claims(*pairs: str) -> list[str]:
    """Return the command-line arguments that set these claims."""
    return [part for pair in pairs for part in ("--claim", pair)]


def account(issuer: IssuerProcess, email: str) -> str:
    return str(issuer.register(email).json()["id"])


def log_in(issuer: IssuerProcess, email: str, **body: str) -> dict[str, Any]:
    response = HTTP.post(f"{issuer.url}/login", json={"email": email, "password": PASSWORD} | body)
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


def additional(tokens: dict[str, Any]) -> dict[str, Any]:
    names = ("tenant", "seats", "beta", TEAMS, "plan")
    return {name: value for name, value in claims_of(tokens["access_token"]).items() if name in names}


def test_an_account_has_its_claims_in_every_token(issuer: IssuerProcess) -> None:
    ann = account(issuer, "ann@example.com")
    before = log_in(issuer, "ann@example.com")
    assert additional(before) == {}
    updated = run(issuer, "users", "update", ann, *claims("tenant=acme", "seats=12", f"{TEAMS}=red", f"{TEAMS}=blue"))
    expected: dict[str, Any] = {"tenant": "acme", "seats": 12, TEAMS: ["red", "blue"]}
    assert updated["claims"] == run(issuer, "users", "show", "ann@example.com")["claims"] == expected
    assert additional(log_in(issuer, "ann@example.com")) == expected
    refreshed = issuer.refresh(before["refresh_token"]).json()
    assert additional(refreshed) == expected
    run(issuer, "users", "update", ann, *claims("seats=", "beta=false", f"{TEAMS}=green"))
    assert additional(issuer.refresh(refreshed["refresh_token"]).json()) == {
        "tenant": "acme",
        "beta": False,
        TEAMS: ["green"],
    }
    detail = execute(
        issuer.database_url, "SELECT detail FROM audit_events WHERE kind = 'account_updated' ORDER BY at LIMIT 1"
    )
    assert json.loads(detail[0][0]) == {"scope": False, "roles": False, "claims": True}


def test_a_client_has_its_claims_in_its_tokens_and_in_those_of_its_users(issuer: IssuerProcess) -> None:
    made = run(issuer, "clients", "create", "nightly", "--id", "nightly", *claims("tenant=acme", "beta=true"))
    machine = Machine(issuer, "nightly", made["secret"])
    assert made["claims"] == {"tenant": "acme", "beta": True}
    assert additional(machine.ask().json()) == {"tenant": "acme", "beta": True}
    run(issuer, "clients", "update", "nightly", *claims("beta="))
    assert additional(machine.ask().json()) == {"tenant": "acme"}

    run(issuer, "clients", "create", "shop", "--id", "shop", "--public", *claims("tenant=shop", "seats=3"))
    bob = account(issuer, "bob@example.com")
    tokens = log_in(issuer, "bob@example.com", client_id="shop")
    assert additional(tokens) == {"tenant": "shop", "seats": 3}
    # The account's own value is the more special one.
    run(issuer, "users", "update", bob, *claims("tenant=bob"))
    run(issuer, "clients", "update", "shop", *claims("seats=4"))
    assert additional(issuer.refresh(tokens["refresh_token"]).json()) == {"tenant": "bob", "seats": 4}
    assert additional(log_in(issuer, "bob@example.com")) == {"tenant": "bob"}


def test_rfc7662_introspection_shows_them(issuer: IssuerProcess) -> None:
    carol = account(issuer, "carol@example.com")
    run(issuer, "users", "update", carol, *claims("tenant=acme", "seats=0.5"))
    secret = run(issuer, "clients", "create", "inspector", "--id", "inspector")["secret"]
    token = log_in(issuer, "carol@example.com")["access_token"]
    found = Machine(issuer, "inspector", secret).post("/introspect", token=token).json()
    assert (found["active"], found["tenant"], found["seats"]) == (True, "acme", 0.5)


def test_accounts_are_imported_with_claims(issuer: IssuerProcess) -> None:
    line = {"email": "dora@example.com", "password_hash": FOREIGN["bcrypt"]}
    right = json.dumps(line | {"claims": {"tenant": "acme", TEAMS: ["red"]}})
    wrong = json.dumps(line | {"email": "eve@example.com", "claims": {"plan": "canary"}})
    typed = json.dumps(line | {"email": "eve@example.com", "claims": {"seats": "canary"}})
    done = command(issuer, "users", "import", "-", "--json", stdin=f"{right}\n{wrong}\n{typed}\n")
    assert json.loads(done.stdout)["accounts"] == 1
    assert "line 2: claims: plan is not in ISSUER_ADDITIONAL_CLAIMS" in done.stderr
    assert "line 3: claims: seats must be a number" in done.stderr
    assert "canary" not in done.stderr
    assert additional(log_in(issuer, "dora@example.com")) == {"tenant": "acme", TEAMS: ["red"]}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([*claims("seats=many")], "--claim: seats must be a number between -(2^53 - 1) and 2^53 - 1\n"),
        ([*claims("sub=someone")], "--claim: sub is not in ISSUER_ADDITIONAL_CLAIMS\n"),
    ],
)
def test_a_claim_that_is_not_configured_is_rejected(issuer: IssuerProcess, arguments: list[str], line: str) -> None:
    for subject in (("users", "update", "00000000-0000-0000-0000-000000000001"), ("clients", "update", "nightly")):
        rejected = command(issuer, *subject, *arguments)
        assert (rejected.returncode, rejected.stdout, rejected.stderr) == (1, "", line)


def test_claims_count_towards_the_size_of_a_token(issuer: IssuerProcess) -> None:
    frank = account(issuer, "frank@example.com")
    many = claims(*(f"{TEAMS}={number}{'x' * 250}" for number in range(6)))
    rejected = command(issuer, "users", "update", frank, *many)
    assert rejected.returncode == 1
    assert "instead of 2048 at most" in rejected.stderr
    rejected = command(issuer, "clients", "create", "big", "--id", "big", *many)
    assert "instead of 2048 at most" in rejected.stderr


def test_a_reserved_name_stops_the_issuer_with_one_line(issuer: IssuerProcess) -> None:
    for configured, fault in (("email:string", "email is reserved"), ("tenant", "must be pairs such as")):
        rejected = command(issuer, "users", "list", configured=configured)
        assert rejected.returncode == 2
        assert rejected.stderr.startswith(f"ISSUER_ADDITIONAL_CLAIMS: {fault}")
        assert rejected.stderr.count("\n") == 1


def test_a_claim_that_is_no_longer_configured_is_left_out(issuer: IssuerProcess) -> None:
    gina = account(issuer, "gina@example.com")
    run(issuer, "users", "update", gina, *claims("tenant=acme", "seats=1"))
    retyped = "seats:string, tenant:string"
    with running_issuer(issuer.database_url, issuer.keys_dir, URL=issuer.url, ADDITIONAL_CLAIMS=retyped) as changed:
        tokens = log_in(changed, "gina@example.com")
        assert additional(tokens) == {"tenant": "acme"}
    with running_issuer(issuer.database_url, issuer.keys_dir, URL=issuer.url) as without:
        assert additional(log_in(without, "gina@example.com")) == {}


def test_an_application_gets_additional_claims_in_headers(issuer: IssuerProcess, tmp_path: Path) -> None:
    hugo = account(issuer, "hugo@example.com")
    run(issuer, "users", "update", hugo, *claims("tenant=acme", "seats=7"))
    token = log_in(issuer, "hugo@example.com")["access_token"].encode()
    policies = """
        [policies.default]
        headers = { X-Auth-Claim-Tenant = "/tenant", X-Auth-Claim-Seats = { at = "/seats", type = "integer" } }
        [policies.other]
        claims = [{ at = "/tenant", equals = "other" }]
    """
    with VerifierFolder(tmp_path).running(
        ISSUER=issuer.url, JWKS_FILE=None, JWKS_URL=f"{issuer.url}/.well-known/jwks.json", policies=policies
    ) as verifier:
        accepted = verifier.ask(token=token)
        assert (accepted.status, accepted["x-auth-claim-tenant"]) == (httpx.codes.OK, "acme")
        assert accepted["x-auth-claim-seats"] == "7"
        assert verifier.ask("/verify/other", token=token).status == httpx.codes.FORBIDDEN
