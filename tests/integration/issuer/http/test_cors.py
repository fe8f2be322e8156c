"""Pages of configured origins may call the issuer (Fetch standard, CORS protocol), and no others."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres

APP, SECOND, FOREIGN = "https://app.example", "http://localhost:5173", "https://foreign.example"


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database(), CORS_ORIGINS=f"{APP}, {SECOND}") as process:
        yield process


def preflight(issuer: IssuerProcess, origin: str, method: str = "POST", path: str = "/login") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    return HTTP.options(issuer.url + path, headers=headers)


def vary(response: httpx.Response) -> set[str]:
    return {name.strip().lower() for name in response.headers.get("Vary", "").split(",")}


@pytest.mark.parametrize("origin", [APP, SECOND])
@pytest.mark.parametrize(("method", "path"), [("POST", "/login"), ("GET", "/me"), ("DELETE", "/sessions")])
def test_a_preflight_of_a_configured_origin_is_allowed(
    issuer: IssuerProcess, origin: str, method: str, path: str
) -> None:
    response = preflight(issuer, origin, method, path)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert method in response.headers["Access-Control-Allow-Methods"].split(", ")
    assert {"Authorization", "Content-Type"} <= set(response.headers["Access-Control-Allow-Headers"].split(", "))
    assert "origin" in vary(response)
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "https://app.example.foreign.example",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.example",
        f"{APP}, {FOREIGN}",
        "*",
    ],
)
def test_another_origin_gets_no_permission(issuer: IssuerProcess, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(issuer, origin).headers
    response = HTTP.get(f"{issuer.url}/.well-known/jwks.json", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_page_of_a_configured_origin_reads_responses_and_errors(issuer: IssuerProcess) -> None:
    for path, status in (("/.well-known/jwks.json", 200), ("/me", 401), ("/nowhere", 404)):
        response = HTTP.get(issuer.url + path, headers={"Origin": APP})
        assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (status, APP)
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


def test_no_response_allows_credentials(issuer: IssuerProcess) -> None:
    responses = [preflight(issuer, APP), HTTP.get(f"{issuer.url}/me", headers={"Origin": APP})]
    assert all("Access-Control-Allow-Credentials" not in response.headers for response in responses)


def test_caches_tell_responses_to_different_origins_apart(issuer: IssuerProcess) -> None:
    url = f"{issuer.url}/.well-known/jwks.json"
    responses = [HTTP.get(url, headers=headers) for headers in ({}, {"Origin": APP}, {"Origin": FOREIGN}, {})]
    assert all("origin" in vary(response) for response in responses)
    assert [response.headers.get("Access-Control-Allow-Origin") for response in responses] == [None, APP, None, None]


def test_without_configured_origins_no_response_has_a_permission(database_url: str) -> None:
    with running_issuer(database_url) as plain:
        response = preflight(plain, APP)
        assert response.status_code == 204
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
