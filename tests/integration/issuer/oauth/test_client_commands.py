"""`python -m issuer clients …`: the commands about clients."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.integration.issuer.oauth.test_client_credentials import assert_invalid_client
from tests.support.issuer_process import PASSWORD, IssuerProcess, issuer_command
from tests.support.machines import Machine, public_jwk
from tests.support.plain_http import HTTP
from tests.support.postgres import execute

Cli = Callable[..., CompletedProcess[str]]
"""`python -m issuer` with the settings of the issuer; called with its arguments."""


@pytest.fixture
def cli(issuer: IssuerProcess) -> Cli:
    return partial(issuer_command, DATABASE_URL=issuer.database_url, URL=issuer.url)


def documents(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    done = cli("clients", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_clients_are_managed_by_commands(issuer: IssuerProcess, cli: Cli) -> None:
    made = documents(cli, "create", "Nightly reports", "--id", "nightly", "--scope", "read write")[0]
    secret = made.pop("secret")
    assert made | {"created_at": None} == {
        "id": "nightly",
        "name": "Nightly reports",
        "auth_method": "client_secret_basic",
        "scope": "read write",
        "audiences": ["gatepass"],
        "claims": {},
        "created_at": None,
        "disabled_at": None,
        "kids": [],
    }
    machine = Machine(issuer, "nightly", secret)
    assert machine.ask().json()["scope"] == "read write"
    assert documents(cli, "show", "nightly") == [made]
    assert made in documents(cli, "list")

    changed = documents(cli, "update", "nightly", "--scope", "read", "--audience", "api", "--audience", "files")[0]
    assert (changed["scope"], changed["audiences"]) == ("read", ["api", "files"])
    assert machine.ask().json()["scope"] == "read"

    assert documents(cli, "disable", "nightly")[0]["disabled_at"] is not None
    assert_invalid_client(machine.ask())
    assert documents(cli, "enable", "nightly")[0]["disabled_at"] is None
    renewed = documents(cli, "rotate-secret", "nightly")[0]["secret"]
    assert_invalid_client(machine.ask())
    assert Machine(issuer, "nightly", renewed).ask().status_code == 200

    assert documents(cli, "delete", "nightly")[0]["id"] == "nightly"
    assert_invalid_client(Machine(issuer, "nightly", renewed).ask())
    events = execute(
        issuer.database_url,
        "SELECT kind, actor, detail::text FROM audit_events WHERE client_id = 'nightly' AND actor = 'operator' "
        "ORDER BY at",
    )
    assert [tuple(event) for event in events] == [
        ("client_created", "operator", '{"auth_method": "client_secret_basic"}'),
        ("client_updated", "operator", '{"scope": true, "audiences": true}'),
        ("client_disabled", "operator", "{}"),
        ("client_enabled", "operator", "{}"),
        ("client_updated", "operator", '{"secret": true}'),
        ("client_deleted", "operator", "{}"),
    ]


def test_a_secret_is_printed_once_and_stored_nowhere(issuer: IssuerProcess, cli: Cli) -> None:
    printed = cli("clients", "create", "Once", "--id", "once").stdout
    secret = printed.split()[-1]
    assert secret.startswith("gpc_")
    assert len(secret) == 47
    assert secret not in cli("clients", "show", "once").stdout + cli("clients", "list").stdout
    rows = execute(issuer.database_url, "SELECT c::text AS row FROM clients c WHERE id = 'once'")
    assert secret not in rows[0]["row"]


def test_a_client_with_keys_has_no_secret(issuer: IssuerProcess, cli: Cli, tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk()]}))
    made = documents(cli, "create", "Keyed", "--id", "keyed", "--jwks", str(jwks))[0]
    assert (made["auth_method"], made["kids"]) == ("private_key_jwt", ["k1"])
    assert "secret" not in made
    assert Machine(issuer, "keyed").ask().status_code == 200
    rejected = cli("clients", "rotate-secret", "keyed")
    assert (rejected.returncode, rejected.stderr) == (1, "this client does not authenticate by a secret\n")
    assert Machine(issuer, "keyed").ask().status_code == 200


def test_a_public_client_has_neither_secret_nor_keys(issuer: IssuerProcess, cli: Cli, tmp_path: Path) -> None:
    made = documents(cli, "create", "Shop", "--id", "shop", "--public", "--scope", "profile", "--audience", "shop")[0]
    assert (made["auth_method"], made["audiences"], made["kids"]) == ("none", ["shop"], [])
    assert "secret" not in made
    issuer.register("ann@example.com")
    login = {"email": "ann@example.com", "password": PASSWORD, "client_id": "shop"}
    assert HTTP.post(f"{issuer.url}/login", json=login).json()["scope"] == "profile"
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk()]}))
    for arguments, results in (
        (("rotate-secret", "shop"), "this client does not authenticate by a secret"),
        (("update", "shop", "--jwks", str(jwks)), "this client does not authenticate by keys"),
        (("create", "X", "--public", "--jwks", str(jwks)), "a public client has no keys"),
    ):
        rejected = cli("clients", *arguments)
        assert (rejected.returncode, rejected.stderr) == (1, f"{results}\n")


def test_tokens_of_users_must_fit_for_every_client(cli: Cli) -> None:
    account = json.loads(cli("users", "create", "big@example.com", "--invite", "--json").stdout)["id"]
    roles = [part for number in range(7) for part in ("--role", f"{number}" * 100)]
    assert cli("users", "update", account, "--scope", "s" * 400, *roles[:8]).returncode == 0
    create = ("clients", "create", "Long", "--id", "c" * 64, "--public", "--audience", "a" * 255)
    rejected = cli(*create, "--scope", "s" * 400)
    assert rejected.returncode == 1
    assert rejected.stderr.startswith(f"for the client {'c' * 64}, the access token would have 2")
    assert cli(*create, "--scope", "other").returncode == 0
    rejected = cli("clients", "update", "c" * 64, "--scope", f"other {'s' * 400}")
    assert rejected.stderr.startswith(f"for the client {'c' * 64}, the access token would have 2")
    rejected = cli("users", "update", account, "--scope", "other", *roles)
    assert f"for the client {'c' * 64}, the access token would have 2" in rejected.stderr
    assert cli("clients", "delete", "c" * 64).returncode == 0


def test_a_file_with_a_private_key_is_rejected_unquoted(cli: Cli, tmp_path: Path) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk() | {"d": "c2VjcmV0LW1hdGVyaWFs"}]}))
    rejected = cli("clients", "create", "Careless", "--jwks", str(jwks))
    fault = "private or symmetric key material: register public keys, replace the leaked ones"
    assert (rejected.returncode, rejected.stderr) == (1, f"the key set cannot be registered: {fault}\n")


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("show", "nobody"), "there is no such client"),
        (("update", "nobody", "--scope", "x"), "there is no such client"),
        (("update", "nobody"), "nothing to change: give --scope, --audience, --jwks or --claim"),
        (("create", "X", "--jwks", "/nowhere.json"), "/nowhere.json: No such file or directory"),
        (("create", "X", "--id", "first-party"), "an id must be neither first-party nor a UUID, which users have"),
    ],
)
def test_an_impossible_change_of_a_client_is_one_line(cli: Cli, arguments: tuple[str, ...], printed: str) -> None:
    rejected = cli("clients", *arguments)
    assert (rejected.returncode, rejected.stdout, rejected.stderr) == (1, "", f"{printed}\n")


def test_a_secret_is_never_an_argument(cli: Cli) -> None:
    assert cli("clients", "create", "X", "--secret", "chosen").returncode == 2
