"""Every path, method and status of the contract is served as documented."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from tests.support import machine_responses
from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.openapi import contract
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import free_port

CREDENTIALS = {"email": "ann@example.com", "password": PASSWORD}
OTHER = {"email": "bob@example.com", "password": PASSWORD}
ADDRESS = {"email": "ann@example.com"}
NEW = "another long and lonely walk"
FOREIGN = {"Cookie": "__Host-refresh_token=x", "Origin": "https://foreign.example"}
RESET, VERIFICATION = "gpw_" + "a" * 43, "gpv_" + "a" * 43
Ask = Callable[[str], httpx.Response]


def post(path: str, **request: Any) -> Ask:
    return lambda url: HTTP.post(url + path, **request, timeout=30)


def get(path: str, headers: dict[str, str] | None = None) -> Ask:
    return lambda url: HTTP.get(url + path, headers=headers, timeout=30)


def delete(path: str) -> Ask:
    return lambda url: HTTP.delete(url + path, timeout=30)


def often(path: str, body: dict[str, str]) -> Ask:
    """Repeat a request until the response has another status."""

    def ask(url: str) -> httpx.Response:
        responses = (HTTP.post(url + path, json=body, timeout=30) for _ in range(20))
        return next(response for response in responses if response.status_code not in {201, 202, 400, 401, 409})

    return ask


@cache
def bearer_of_another(url: str) -> dict[str, str]:
    """Return a request with the token of one session, since after too many failures no other login succeeds."""
    HTTP.post(f"{url}/register", json=OTHER, timeout=30)
    token = HTTP.post(f"{url}/login", json=OTHER, timeout=30).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def often_as_owner(method: str, path: str, body: dict[str, str]) -> Ask:
    """Return the same request with the token of that session."""

    def ask(url: str) -> httpx.Response:
        bearer = bearer_of_another(url)
        responses = (HTTP.request(method, url + path, json=body, headers=bearer, timeout=30) for _ in range(20))
        return next(response for response in responses if response.status_code != 401)

    return ask


def me(url: str) -> httpx.Response:
    token = HTTP.post(f"{url}/login", json=CREDENTIALS).json()["access_token"]
    return HTTP.get(f"{url}/me", headers={"Authorization": f"Bearer {token}"})


def login(url: str) -> dict[str, Any]:
    tokens: dict[str, Any] = HTTP.post(f"{url}/login", json=CREDENTIALS, timeout=30).json()
    return tokens


def as_owner(method: str, path: str, **request: Any) -> Ask:
    """Send a request with a token of a new session; `{id}` in the path is another session of the same account."""

    def ask(url: str) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {login(url)['access_token']}"}
        other = ""
        if "{id}" in path:
            listed = HTTP.get(f"{url}/sessions", headers=bearer).json()["sessions"]
            other = next(session["id"] for session in listed if not session["current"])
        headers = bearer | request.get("headers", {})
        return HTTP.request(method, url + path.replace("{id}", other), timeout=30, **request | {"headers": headers})

    return ask


def refresh(url: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": login(url)["refresh_token"]}
    return HTTP.post(f"{url}/token", data=form, timeout=30)


def bodies(path: str, method: str, send: Callable[..., Ask]) -> dict[tuple[str, str, str], Ask]:
    """Return requests whose body is unacceptable."""
    json_type = {"Content-Type": "application/json"}
    return {
        (path, method, "400"): send(path, content=b"{", headers=json_type),
        (path, method, "413"): send(path, content=b" " * 65_537, headers=json_type),
        (path, method, "415"): send(path, content=b"{}"),
        (path, method, "422"): send(path, json={}),
    }


# In this order: an account is registered before it is taken, logs in or is asked about.
SERVED: dict[tuple[str, str, str], Ask] = {
    **bodies("/register", "post", post),
    ("/register", "post", "201"): post("/register", json=CREDENTIALS),
    ("/register", "post", "409"): post("/register", json=CREDENTIALS),
    **bodies("/login", "post", post),
    ("/login", "post", "200"): post("/login", json=CREDENTIALS),
    ("/login", "post", "403"): post("/login", json=CREDENTIALS | {"cookies": True}, headers=FOREIGN),
    ("/login", "post", "401"): post("/login", json=CREDENTIALS | {"password": "wrong"}),
    ("/me", "get", "200"): me,
    ("/me", "get", "401"): get("/me"),
    ("/token", "post", "200"): refresh,
    ("/token", "post", "403"): post("/token", data={"grant_type": "refresh_token"}, headers=FOREIGN),
    ("/token", "post", "400"): post("/token", data={"grant_type": "password"}),
    ("/sessions", "get", "200"): as_owner("GET", "/sessions"),
    ("/sessions", "get", "401"): get("/sessions"),
    ("/sessions/{id}", "delete", "204"): as_owner("DELETE", "/sessions/{id}"),
    ("/sessions/{id}", "delete", "401"): delete("/sessions/x"),
    ("/sessions/{id}", "delete", "404"): as_owner("DELETE", "/sessions/x"),
    ("/logout", "post", "204"): as_owner("POST", "/logout"),
    ("/logout", "post", "401"): post("/logout"),
    ("/logout", "post", "403"): post("/logout", headers=FOREIGN),
    ("/sessions", "delete", "422"): as_owner("DELETE", "/sessions?keep_current=no"),
    ("/sessions", "get", "422"): as_owner("GET", "/sessions?limit=0"),
    ("/sessions", "delete", "204"): as_owner("DELETE", "/sessions"),
    ("/sessions", "delete", "401"): delete("/sessions"),
    ("/status-lists", "get", "200"): get("/status-lists"),
    ("/status-lists", "get", "304"): get("/status-lists", {"If-None-Match": "*"}),
    ("/status-lists/{id}", "get", "200"): get("/status-lists/1"),
    ("/status-lists/{id}", "get", "304"): get("/status-lists/1", {"If-None-Match": "*"}),
    ("/status-lists/{id}", "get", "404"): get("/status-lists/0"),
    **bodies("/password/forgot", "post", post),
    ("/password/forgot", "post", "202"): post("/password/forgot", json=ADDRESS),
    **bodies("/email/verify/resend", "post", post),
    ("/email/verify/resend", "post", "202"): post("/email/verify/resend", json=ADDRESS),
    **bodies("/password/reset", "post", post),
    ("/password/reset", "post", "400"): post("/password/reset", json={"token": "gpw_", "password": NEW}),
    **bodies("/email/verify", "post", post),
    ("/email/verify", "post", "400"): post("/email/verify", json={"token": "gpv_"}),
    **bodies("/password", "post", partial(as_owner, "POST")),
    ("/password", "post", "401"): post("/password", json={}),
    ("/password", "post", "204"): as_owner(
        "POST", "/password", json={"current_password": PASSWORD, "new_password": PASSWORD}
    ),
    **bodies("/me", "delete", partial(as_owner, "DELETE")),
    ("/me", "delete", "401"): as_owner("DELETE", "/me", json={"password": "wrong"}),
    ("/me", "delete", "204"): as_owner("DELETE", "/me", json={"password": PASSWORD}),
    ("/.well-known/jwks.json", "get", "200"): get("/.well-known/jwks.json"),
    ("/.well-known/jwks.json", "get", "304"): get("/.well-known/jwks.json", {"If-None-Match": "*"}),
    ("/openapi.json", "get", "200"): get("/openapi.json"),
    ("/openapi.json", "get", "304"): get("/openapi.json", {"If-None-Match": "*"}),
}
THROTTLED: dict[tuple[str, str, str], Ask] = {
    ("/password", "post", "429"): often_as_owner(
        "POST", "/password", {"current_password": "wrong", "new_password": NEW}
    ),
    ("/me", "delete", "429"): often_as_owner("DELETE", "/me", {"password": "wrong"}),
    ("/register", "post", "429"): often("/register", CREDENTIALS),
    ("/login", "post", "429"): often("/login", CREDENTIALS | {"password": "wrong"}),
    ("/password/forgot", "post", "429"): often("/password/forgot", ADDRESS),
    ("/email/verify/resend", "post", "429"): often("/email/verify/resend", ADDRESS),
    ("/password/reset", "post", "429"): often("/password/reset", {"token": RESET, "password": NEW}),
}
AWAY: dict[tuple[str, str, str], Ask] = {
    ("/register", "post", "503"): post("/register", json=CREDENTIALS),
    ("/login", "post", "503"): post("/login", json=CREDENTIALS),
    ("/status-lists", "get", "503"): get("/status-lists"),
    ("/status-lists/{id}", "get", "503"): get("/status-lists/1"),
    ("/token", "post", "503"): post("/token", data={"grant_type": "refresh_token", "refresh_token": "x"}),
    ("/password/forgot", "post", "503"): post("/password/forgot", json=ADDRESS),
    ("/email/verify/resend", "post", "503"): post("/email/verify/resend", json=ADDRESS),
    ("/password/reset", "post", "503"): post("/password/reset", json={"token": RESET, "password": NEW}),
    ("/email/verify", "post", "503"): post("/email/verify", json={"token": VERIFICATION}),
    ("/.well-known/jwks.json", "get", "503"): get("/.well-known/jwks.json"),
}
ELSEWHERE = {
    ("/me", "get", "503"),
    ("/logout", "post", "503"),
    ("/sessions", "get", "503"),
    ("/sessions", "delete", "503"),
    ("/sessions/{id}", "delete", "503"),
    # In test_recovery, where addresses are verified and tokens come by mail.
    ("/me", "delete", "503"),
    ("/password", "post", "503"),
    ("/register", "post", "202"),
    ("/email/verify", "post", "204"),
    ("/password/reset", "post", "204"),
    # In test_client_contract, as a client.
    *machine_responses.SERVED,
    *machine_responses.AWAY,
}
"""Tested in test_database_outages.py, with a token from before the outage, or in the file that the comment names."""


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database(), COOKIE_ORIGINS="https://app.example") as process:
        yield process


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return contract()


def resolve(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def check(document: dict[str, Any], path: str, method: str, status: str, response: httpx.Response) -> None:
    assert response.status_code == int(status)
    documented = resolve(document, document["paths"][path][method]["responses"][status])
    headers = {name: resolve(document, header) for name, header in documented.get("headers", {}).items()}
    for name in (name for name, header in headers.items() if header.get("required") or name in response.headers):
        schema = headers[name]["schema"]
        value: Any = response.headers[name]
        OAS31Validator(schema).validate(int(value) if schema["type"] == "integer" else value)
    content = documented.get("content")
    if content is None:
        assert response.content == b""
        return
    media_type = response.headers["content-type"]
    schema = content[media_type]["schema"] | {"components": document["components"]}
    OAS31Validator(schema).validate(response.json() if "json" in media_type else response.text)


def test_every_documented_response_is_requested(document: dict[str, Any]) -> None:
    documented = {
        (path, method, status)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        for status in operation["responses"]
    }
    assert documented == set(SERVED) | set(THROTTLED) | set(AWAY) | ELSEWHERE


def test_every_documented_response_occurs(issuer: IssuerProcess, document: dict[str, Any]) -> None:
    for (path, method, status), ask in SERVED.items():
        check(document, path, method, status, ask(issuer.url))


def test_every_documented_rate_limit_occurs(document: dict[str, Any], database_url: str) -> None:
    with running_issuer(database_url, REQUESTS_PER_IP="1") as issuer:
        for (path, method, status), ask in THROTTLED.items():
            check(document, path, method, status, ask(issuer.url))


def test_every_documented_outage_response_occurs(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    keys, mail = (tmp_path_factory.mktemp(name) for name in ("no-keys", "mail"))
    with running_issuer(nowhere, keys, ready=503, MAIL_URL=mail.as_uri(), MAIL_FROM="no-reply@example.com") as issuer:
        for (path, method, status), ask in AWAY.items():
            check(document, path, method, status, ask(issuer.url))


def test_every_route_is_documented(issuer: IssuerProcess, document: dict[str, Any]) -> None:
    assert HTTP.get(f"{issuer.url}/openapi.json").json() == document
    for path, item in document["paths"].items():
        allow = HTTP.options(issuer.url + path).headers["allow"].lower().split(", ")
        assert set(allow) - {"head", "options"} == set(item)
