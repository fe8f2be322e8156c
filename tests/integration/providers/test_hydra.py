"""Ory Hydra's tokens through real gateways, by the profile `hydra`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.real_providers.hydra import AUDIENCE, SUBJECT, Hydra
from tests.support.real_providers.oauth_client import metadata_url
from tests.support.real_providers.site import EVERYTHING, GATEWAYS, Site, discovered, running_site
from tests.support.token_forge import claims_of

# Hydra is built before its first start.
pytestmark = pytest.mark.timeout(900)

PERSONS: Final = ("a person's", "a person's, refreshed", "a person's, for an assertion")
MACHINES: Final = ("a machine's",)

OTHERS: Final = {
    "ID token": "not_access_token",
    "ID token, refreshed": "not_access_token",
    "ID token, implicit flow": "not_access_token",
    "ID token, hybrid flow": "not_access_token",
    "opaque access token": "malformed",
    "refresh token": "malformed",
    "logout token": "not_access_token",
    "userinfo JWT": "not_access_token",
    "verifiable credential": "not_access_token",
    "client assertion": "unknown_key",
    "authorization grant assertion": "unknown_key",
}
"""Every other kind of token that Hydra issues or receives, with the verifier's reason for rejecting it."""


@pytest.fixture(scope="module")
def site(folder: Path, hydra: Hydra) -> Iterator[Site]:
    audiences = [AUDIENCE, "web", "reports", "opaque", hydra.issuer, hydra.endpoints["token"]]
    policies = f"""
    [issuers."{hydra.issuer}"]
    profile = "hydra"
    discovery = "{metadata_url(hydra.issuer)}"

    [policies.default]
    audience = "{AUDIENCE}"
    scopes_all = ["orders:read"]

    [policies.admin]
    audience = {json.dumps(audiences)}
    """
    with running_site(folder, policies) as site:
        yield site


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("kind", [*PERSONS, *MACHINES])
def test_an_access_token_identifies_the_caller_to_the_application(
    site: Site, hydra: Hydra, gateway: str, kind: str
) -> None:
    token = hydra.access_tokens[kind]
    claims = claims_of(token)
    for_assertion = kind == "a person's, for an assertion"
    assert site.identity(gateway, token) == {
        "X-Auth-Issuer": hydra.issuer,
        "X-Auth-Subject": SUBJECT if kind in PERSONS else "reports",
        "X-Auth-Client": "reports" if for_assertion or kind in MACHINES else "web",
        "X-Auth-Scope": "orders:read" if for_assertion or kind in MACHINES else "openid offline orders:read",
        "X-Auth-Token": claims["jti"],
        "X-Auth-Expires": str(claims["exp"]),
    }


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("kind", OTHERS)
def test_another_token_is_no_access_token(site: Site, hydra: Hydra, gateway: str, kind: str) -> None:
    assert site.rejection(gateway, hydra.other_tokens[kind]) == (401, OTHERS[kind])


def test_every_kind_of_token_is_tried(site: Site, hydra: Hydra) -> None:
    assert set(hydra.access_tokens) == {*PERSONS, *MACHINES}
    assert set(hydra.other_tokens) == set(OTHERS)
    # Where the others are rejected, these are not: their audience is accepted there too.
    assert all(site.ask("nginx", token, EVERYTHING).status == 200 for token in hydra.access_tokens.values())


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_an_access_token_for_another_api_is_rejected(site: Site, hydra: Hydra, gateway: str) -> None:
    # Hydra writes no audience that was not asked for.
    without_audience = hydra.log_in(audience="")["access_token"]
    assert site.rejection(gateway, without_audience)[0] == 401


def test_discover_recognises_the_provider(hydra: Hydra) -> None:
    assert discovered(hydra) == {"discovery": metadata_url(hydra.issuer), "profile": "hydra"}
