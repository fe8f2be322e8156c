"""Access tokens by RFC 9068 of npm's oidc-provider, signed by ES256, EdDSA and PS256, through real gateways."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.real_providers.oauth_client import metadata_url
from tests.support.real_providers.oidc_provider import ALGORITHMS, OidcProvider, audience
from tests.support.real_providers.site import EVERYTHING, GATEWAYS, Site, discovered, running_site
from tests.support.token_forge import claims_of, header_of

pytestmark = pytest.mark.timeout(300)

PERSONS: Final = ("a person's", "a person's, refreshed")
MACHINES: Final = ("a machine's",)

OTHERS: Final = {
    "ID token": "wrong_type",
    "ID token, refreshed": "wrong_type",
    "ID token, implicit flow": "wrong_type",
    "opaque access token": "malformed",
    "refresh token": "malformed",
    "logout token": "wrong_type",
    "userinfo JWT": "wrong_type",
    "authorization response JWT": "wrong_type",
    "introspection JWT": "wrong_type",
    "DPoP-bound access token": "sender_constrained",
    "client assertion": "wrong_type",
    "DPoP proof": "invalid_header",
}
"""Every other kind of token that the provider issues or receives, with the verifier's reason for rejecting it."""

NOT_BY_THE_PROVIDER: Final = {"opaque access token", "refresh token", "client assertion", "DPoP proof"}
"""Tokens that the provider did not sign: unsigned, or signed by the client."""


@pytest.fixture(scope="module")
def site(folder: Path, oidc_provider: OidcProvider) -> Iterator[Site]:
    apis = [audience(algorithm) for algorithm in ALGORITHMS]
    clients = [*(f"web-{algorithm}" for algorithm in ALGORITHMS), "reports", oidc_provider.issuer]
    policies = f"""
    [issuers."{oidc_provider.issuer}"]
    profile = {{ extends = "rfc9068", algorithms = {json.dumps(ALGORITHMS)} }}
    discovery = "{metadata_url(oidc_provider.issuer)}"

    [policies.default]
    audience = {json.dumps(apis)}
    scopes_all = ["orders:read"]

    [policies.admin]
    audience = {json.dumps(apis + clients)}
    """
    with running_site(folder, policies) as site:
        yield site


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("kind", [*PERSONS, *MACHINES])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_access_token_identifies_the_caller_to_the_application(
    site: Site,
    oidc_provider: OidcProvider,
    algorithm: str,
    kind: str,
    gateway: str,
) -> None:
    token = oidc_provider.access_tokens[algorithm][kind]
    claims = claims_of(token)
    assert header_of(token)["alg"] == algorithm
    assert site.identity(gateway, token) == {
        "X-Auth-Issuer": oidc_provider.issuer,
        "X-Auth-Subject": "ada" if kind in PERSONS else "reports",
        "X-Auth-Client": f"web-{algorithm}" if kind in PERSONS else "reports",
        "X-Auth-Scope": "orders:read",
        "X-Auth-Token": claims["jti"],
        "X-Auth-Expires": str(claims["exp"]),
    }


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_token_is_no_access_token(
    site: Site, oidc_provider: OidcProvider, algorithm: str, kind: str, gateway: str
) -> None:
    assert site.rejection(gateway, oidc_provider.other_tokens[algorithm][kind]) == (401, OTHERS[kind])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_kind_of_token_is_tried(site: Site, oidc_provider: OidcProvider, algorithm: str) -> None:
    accepted, others = oidc_provider.access_tokens[algorithm], oidc_provider.other_tokens[algorithm]
    assert set(accepted) == {*PERSONS, *MACHINES}
    assert set(others) == set(OTHERS)
    # Where the others are rejected, these are not: their audience is accepted there too.
    assert all(site.ask("nginx", token, EVERYTHING).status == 200 for token in accepted.values())
    # The others are no less genuine: the same key signed them.
    signed = {header_of(token)["kid"] for kind, token in others.items() if kind not in NOT_BY_THE_PROVIDER}
    assert signed == {header_of(token)["kid"] for token in accepted.values()}


def test_discover_leaves_its_profile_open(oidc_provider: OidcProvider) -> None:
    assert discovered(oidc_provider) == {
        "discovery": metadata_url(oidc_provider.issuer),
        "profile": {"extends": "", "algorithms": ["ES256", "EdDSA", "PS256"]},
    }
