"""Two providers with a user `ada` each, and one verifier, which tells them apart."""

from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.support.real_providers.hydra import AUDIENCE, SUBJECT, Hydra
from tests.support.real_providers.oauth_client import metadata_url
from tests.support.real_providers.oidc_provider import OidcProvider, audience
from tests.support.real_providers.site import EVERYTHING, GATEWAYS, Site, running_site

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site(folder: Path, hydra: Hydra, oidc_provider: OidcProvider) -> Iterator[Site]:
    policies = f"""
    [issuers."{hydra.issuer}"]
    profile = "hydra"
    discovery = "{metadata_url(hydra.issuer)}"

    [issuers."{oidc_provider.issuer}"]
    profile = {{ extends = "rfc9068", algorithms = ["ES256"] }}
    discovery = "{metadata_url(oidc_provider.issuer)}"

    [policies.default]
    issuers = ["{hydra.issuer}", "{oidc_provider.issuer}"]
    audience = ["{AUDIENCE}", "{audience("ES256")}"]

    [policies.admin]
    issuers = ["{hydra.issuer}"]
    audience = ["{AUDIENCE}", "{audience("ES256")}"]
    """
    with running_site(folder, policies) as site:
        # A verifier is ready as soon as it has the keys of one issuer (ADR 0120).
        for token in (hydra.log_in()["access_token"], oidc_provider.log_in("ES256")["access_token"]):
            wait_until(partial(_is_accepted, site, token), "the keys of both issuers are there", seconds=20)
        yield site


def _is_accepted(site: Site, token: str) -> bool:
    return site.ask("nginx", token).status == HTTPStatus.OK


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_equal_subjects_are_distinguished_by_their_issuer(
    site: Site, hydra: Hydra, oidc_provider: OidcProvider, gateway: str
) -> None:
    people = [
        site.identity(gateway, token)
        for token in (hydra.log_in()["access_token"], oidc_provider.log_in("ES256")["access_token"])
    ]
    assert [person["X-Auth-Subject"] for person in people] == [SUBJECT, SUBJECT]
    assert [person["X-Auth-Issuer"] for person in people] == [hydra.issuer, oidc_provider.issuer]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_policy_accepts_only_the_issuers_that_it_names(
    site: Site, hydra: Hydra, oidc_provider: OidcProvider, gateway: str
) -> None:
    assert site.ask(gateway, hydra.log_in()["access_token"], EVERYTHING).status == 200
    other = oidc_provider.log_in("ES256")["access_token"]
    # Already its type is not one of the issuers that the policy names: at+jwt, where Hydra writes JWT.
    assert site.rejection(gateway, other, EVERYTHING) == (401, "wrong_type")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_each_issuer_has_its_own_algorithms(site: Site, oidc_provider: OidcProvider, gateway: str) -> None:
    other = oidc_provider.log_in("EdDSA")["access_token"]
    assert site.rejection(gateway, other, "/") == (401, "unsupported_algorithm")
