"""The metadata document (RFC 8414) agrees with the server."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.issuer.oauth.test_client_credentials import prove
from tests.support.issuer_process import IssuerProcess
from tests.support.machines import Machine, with_key, with_secret
from tests.support.plain_http import HTTP
from tests.support.token_forge import claims_of
from tests.support.verifier_process import verifier_command

PATH = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def metadata(issuer: IssuerProcess) -> dict[str, Any]:
    response = HTTP.get(f"{issuer.url}{PATH}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document: dict[str, Any] = response.json()
    return document


def test_rfc8414_3_3_the_issuer_is_the_one_in_tokens(issuer: IssuerProcess, metadata: dict[str, Any]) -> None:
    assert metadata["issuer"] == claims_of(issuer.session()["access_token"])["iss"] == issuer.url
    assert HTTP.get(f"{issuer.url}{PATH}/tenant").status_code == 404


def test_the_verifier_reads_all_that_it_needs_from_the_metadata(issuer: IssuerProcess, tmp_path: Path) -> None:
    discovered = verifier_command("discover", issuer.url)
    assert (discovered.returncode, discovered.stderr) == (0, "")
    policies = tmp_path / "policies.toml"
    policies.write_text(discovered.stdout.replace('audience = ""', 'audience = "gatepass"'), encoding="utf-8")
    checked = verifier_command("check-config", POLICIES_FILE=policies)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"issuer {issuer.url}: 1 status lists" in checked.stdout
    token = issuer.token("discovered@example.com").encode()
    explained = verifier_command("explain", stdin=token, POLICIES_FILE=policies)
    assert explained.returncode == 0, explained.stdout


def test_rfc8414_2_every_advertised_endpoint_is_served(metadata: dict[str, Any]) -> None:
    endpoints = {name: url for name, url in metadata.items() if name.endswith(("_endpoint", "_uri"))}
    assert set(endpoints) == {
        "token_endpoint",
        "jwks_uri",
        "revocation_endpoint",
        "introspection_endpoint",
        "status_list_aggregation_endpoint",
    }
    for name, url in endpoints.items():
        method = "GET" if name in {"jwks_uri", "status_list_aggregation_endpoint"} else "POST"
        assert method in HTTP.options(url).headers["allow"].split(", ")


def test_rfc8414_2_every_served_oauth_endpoint_is_advertised(issuer: IssuerProcess, metadata: dict[str, Any]) -> None:
    paths = HTTP.get(f"{issuer.url}/openapi.json").json()["paths"]
    forms = {
        path
        for path, operations in paths.items()
        if "application/x-www-form-urlencoded" in operations.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert {url.removeprefix(issuer.url) for name, url in metadata.items() if name.endswith("_endpoint")} >= forms


def test_rfc8414_2_exactly_the_advertised_grants_are_served(issuer: IssuerProcess, metadata: dict[str, Any]) -> None:
    grants = ["authorization_code", "implicit", "password", "client_credentials", "refresh_token"]
    responses = {grant: HTTP.post(f"{issuer.url}/token", data={"grant_type": grant}) for grant in grants}
    served = {grant for grant, response in responses.items() if response.json()["error"] != "unsupported_grant_type"}
    assert served == set(metadata["grant_types_supported"])
    assert metadata["response_types_supported"] == []


@pytest.mark.parametrize("endpoint", ["token", "revocation", "introspection"])
def test_rfc8414_2_exactly_the_advertised_authentications_are_served(
    issuer: IssuerProcess, metadata: dict[str, Any], endpoint: str
) -> None:
    machine, keyed = with_secret(issuer), with_key(issuer)
    form = {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "x"}
    path = metadata[f"{endpoint}_endpoint"].removeprefix(issuer.url)
    in_body = {"client_id": machine.id, "client_secret": machine.secret}
    works = {
        "client_secret_basic": machine.post(path, **form).status_code == 200,
        "private_key_jwt": keyed.post(path, **form).status_code == 200,
        "client_secret_post": HTTP.post(f"{issuer.url}{path}", data=form | in_body).status_code == 200,
        "none": works_without_authentication(issuer, endpoint, path),
    }
    assert {method for method, does in works.items() if does} == set(
        metadata[f"{endpoint}_endpoint_auth_methods_supported"]
    )


def works_without_authentication(issuer: IssuerProcess, endpoint: str, path: str) -> bool:
    """Send a refresh of the first-party client, which is identified by its token."""
    form = {"client_id": "first-party", "token": "x", "grant_type": "refresh_token", "refresh_token": "x"}
    response = HTTP.post(f"{issuer.url}{path}", data=form)
    return response.status_code == 200 or (endpoint == "token" and response.json() == {"error": "invalid_grant"})


def test_an_assertion_may_name_the_endpoint_as_its_audience(issuer: IssuerProcess, metadata: dict[str, Any]) -> None:
    keyed: Machine = with_key(issuer)
    for audience in (metadata["token_endpoint"], metadata["introspection_endpoint"], metadata["issuer"]):
        assert prove(keyed, keyed.assertion(aud=audience)).status_code == 200
    assert prove(keyed, keyed.assertion(aud=metadata["jwks_uri"])).status_code == 401
