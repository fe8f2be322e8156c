"""Keycloak's tokens through real gateways, by the profile `keycloak`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.guides import GUIDES, Reader
from tests.support.processes import wait_until
from tests.support.programs import program
from tests.support.real_providers import install
from tests.support.real_providers.keycloak import ADA, ADMIN, ALGORITHMS, Keycloak
from tests.support.real_providers.oauth_client import PASSWORD, metadata_url
from tests.support.real_providers.site import EVERYTHING, GATEWAYS, Site, discovered, running_site
from tests.support.token_forge import claims_of, header_of

# Keycloak is fetched and built before its first start.
pytestmark = pytest.mark.timeout(900)

PERSONS: Final = {
    "a person's, after the login page": ("web", "openid email profile"),
    "a person's, refreshed": ("web", "openid email profile"),
    "a person's, direct access grant": ("web", "email profile"),
    "a person's, for offline use": ("web", "openid email offline_access profile"),
    "a person's, exchanged": ("billing", "email profile"),
    "a person's, of the type at+jwt": ("at+jwt", "email profile"),
    **{f"a person's, signed by {algorithm}": (algorithm, "email profile") for algorithm in ALGORITHMS},
}
MACHINES: Final = {
    "a machine's with a secret": ("billing", "email profile"),
    "a machine's with a key": ("reports", "email profile"),
}
"""Kinds of access tokens, with their clients and scopes."""

OTHERS: Final = {
    "ID token": "not_access_token",
    "ID token, refreshed": "not_access_token",
    "ID token, implicit flow": "not_access_token",
    "ID token, exchanged": "not_access_token",
    "refresh token": "unsupported_algorithm",
    "refresh token, exchanged": "unsupported_algorithm",
    "offline token": "unsupported_algorithm",
    "logout token": "wrong_type",
    "userinfo JWT": "not_access_token",
    "authorization response JWT": "invalid_claims",  # Keycloak writes `iss` into it twice
    "identity cookie": "unsupported_algorithm",
    "DPoP-bound access token": "not_access_token",
    "lightweight access token": "invalid_claims",
    "client assertion": "unknown_key",
    "DPoP proof": "invalid_header",
    "permission ticket": "unsupported_algorithm",
    "initial access token": "unsupported_algorithm",
    "registration access token": "unsupported_algorithm",
}
"""Every other kind of token that Keycloak issues or receives, with the verifier's reason for rejecting it."""

ROLES: Final = {"customer", "default-roles-shop", "offline_access", "uma_authorization"}


@pytest.fixture(scope="module")
def site(folder: Path, keycloak: Keycloak) -> Iterator[Site]:
    _ = keycloak.access_tokens  # Keycloak generates the key of an algorithm when the first token needs it.
    clients = ["orders", "account", "web", "billing", "reports", "light", keycloak.issuer]
    policies = f"""
    [issuers."{keycloak.issuer}"]
    profile = "keycloak"
    discovery = "{metadata_url(keycloak.issuer)}"

    [policies.default]
    audience = "orders"

    [policies.admin]
    audience = {json.dumps(clients)}
    """
    with running_site(folder, policies) as site:
        yield site


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("kind", [*PERSONS, *MACHINES])
def test_an_access_token_identifies_the_caller_to_the_application(
    site: Site, keycloak: Keycloak, kind: str, gateway: str
) -> None:
    claims = claims_of(keycloak.access_tokens[kind])
    client, scope = (PERSONS | MACHINES)[kind]
    identity = site.identity(gateway, keycloak.access_tokens[kind])
    assert set(identity.pop("X-Auth-Scope").split(" ")) == set(scope.split(" "))
    assert set(identity.pop("X-Auth-Roles", "").split(",")) == (ROLES if kind in PERSONS else {""})
    assert identity.pop("X-Auth-Session", None) == (claims["sid"] if kind in PERSONS else None)
    assert identity == {
        "X-Auth-Issuer": keycloak.issuer,
        "X-Auth-Subject": ADA if kind in PERSONS else claims["sub"],
        "X-Auth-Client": client,
        "X-Auth-Token": claims["jti"],
        "X-Auth-Expires": str(claims["exp"]),
    }


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("kind", OTHERS)
def test_another_token_is_no_access_token(site: Site, keycloak: Keycloak, kind: str, gateway: str) -> None:
    assert site.rejection(gateway, keycloak.other_tokens[kind]) == (401, OTHERS[kind])


def test_every_kind_of_token_is_tried(site: Site, keycloak: Keycloak) -> None:
    assert set(keycloak.access_tokens) == {*PERSONS, *MACHINES}
    assert set(keycloak.other_tokens) == set(OTHERS)
    # Where the others are rejected, these are not: their audience is accepted there too.
    assert all(site.ask("nginx", token, EVERYTHING).status == 200 for token in keycloak.access_tokens.values())
    # The clients of these algorithms have tokens that are really signed so.
    signed = {kind: header_of(token)["alg"] for kind, token in keycloak.access_tokens.items()}
    assert [signed[f"a person's, signed by {algorithm}"] for algorithm in ALGORITHMS] == list(ALGORITHMS)


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_access_token_for_another_api_is_rejected(site: Site, keycloak: Keycloak, gateway: str) -> None:
    for_billing = keycloak.party_token(keycloak.permission_ticket())
    assert site.ask(gateway, for_billing, EVERYTHING).status == 200
    assert site.rejection(gateway, for_billing, "/") == (401, "wrong_audience")


def test_a_new_key_is_found_by_the_first_token_that_it_signs(site: Site, keycloak: Keycloak) -> None:
    _rotate(site, keycloak)
    # Now the key set is only seconds old. By schedule it is refreshed after minutes.
    _rotate(site, keycloak)


def _rotate(site: Site, keycloak: Keycloak) -> None:
    old = keycloak.billing()["access_token"]
    keycloak.rotate_keys()
    new = keycloak.billing()["access_token"]
    assert header_of(new)["kid"] != header_of(old)["kid"]
    wait_until(lambda: site.ask("nginx", new).status == 200, "the new key is accepted", seconds=8)
    assert site.ask("envoy", new).status == 200
    assert site.ask("envoy", old).status == 200


def test_another_realm_of_the_same_server_is_another_issuer(site: Site, keycloak: Keycloak) -> None:
    # `master` signs with its own keys.
    assert site.rejection("nginx", keycloak.admin_token()) == (401, "unknown_key")


def test_the_guide_works_as_it_is_written(
    keycloak: Keycloak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("curl")
    monkeypatch.setenv("HOME", str(tmp_path))  # where kcadm.sh keeps its login
    monkeypatch.setenv("KC_CLI_PASSWORD", ADMIN)
    monkeypatch.setenv("PASSWORD", PASSWORD)
    monkeypatch.setenv("PATH", f"{install.keycloak() / 'bin'}:{os.environ['PATH']}")
    guide = (GUIDES / "keycloak.md").read_text(encoding="utf-8")
    Reader(tmp_path, replaced={"https://id.example.com": keycloak.url}).follow(guide)


def test_discover_recognises_the_provider(keycloak: Keycloak) -> None:
    assert discovered(keycloak) == {"discovery": metadata_url(keycloak.issuer), "profile": "keycloak"}
