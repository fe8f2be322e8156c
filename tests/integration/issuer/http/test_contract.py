"""Every path, method and status of the contract is served as documented."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.machines import with_secret
from tests.support.openapi import contract, resolved
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import free_port

EMAIL, OTHER = "ann@example.com", "bob@example.com"
ADDRESS = {"email": EMAIL}
CREDENTIALS = ADDRESS | {"password": PASSWORD}
NEW = "another long and lonely walk"
FOREIGN = {"Cookie": "__Host-refresh_token=x", "Origin": "https://foreign.example"}
UNCHANGED = {"If-None-Match": "*"}
RESET, VERIFICATION = "gpw_" + "a" * 43, "gpv_" + "a" * 43
METADATA = "/.well-known/oauth-authorization-server"
Ask = Callable[[IssuerProcess], httpx.Response]


def request(method: str, path: str, **options: Any) -> Ask:
    return lambda issuer: HTTP.request(method, issuer.url + path, **options)


get, post, delete = (partial(request, method) for method in ("GET", "POST", "DELETE"))


def often(method: str, path: str, body: dict[str, str], *, as_owner: bool = False) -> Ask:
    """Repeat a request until the response has another status."""

    def ask(issuer: IssuerProcess) -> httpx.Response:
        bearer = {"Authorization": f"Bearer {token_of_another(issuer)}"} if as_owner else {}
        repeated = request(method, path, json=body, headers=bearer)
        responses = (repeated(issuer) for _ in range(20))
        return next(response for response in responses if response.status_code not in {201, 202, 400, 401, 409})

    return ask


@cache
def token_of_another(issuer: IssuerProcess) -> str:
    """Return the token of one session, since after too many failures no other login succeeds."""
    return str(issuer.session(OTHER)["access_token"])


def as_owner(method: str, path: str, **options: Any) -> Ask:
    """Send a request with a token of a new session; `{id}` in the path is another session of the same account."""

    def ask(issuer: IssuerProcess) -> httpx.Response:
        token = issuer.login(EMAIL).json()["access_token"]
        other = ""
        if "{id}" in path:
            listed = issuer.request("GET", "/sessions", token).json()["sessions"]
            other = next(session["id"] for session in listed if not session["current"])
        headers = {"Authorization": f"Bearer {token}"} | options.get("headers", {})
        return request(method, path.replace("{id}", other), **options | {"headers": headers})(issuer)

    return ask


def as_client(path: str, *, shows_token: bool) -> Ask:
    """Send a form with the credentials of a new client, and with a token of the client or without one."""

    def ask(issuer: IssuerProcess) -> httpx.Response:
        machine = with_secret(issuer, scope="read")
        return machine.post(path, **{"token": machine.token()} if shows_token else {})

    return ask


def as_unknown_client(path: str) -> Ask:
    return post(path, data={"token": "x", "grant_type": "client_credentials"}, auth=("unknown", "gpc_x"))


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
    ("/me", "get", "200"): as_owner("GET", "/me"),
    ("/me", "get", "401"): get("/me"),
    ("/token", "post", "200"): lambda issuer: issuer.refresh(issuer.login(EMAIL).json()["refresh_token"]),
    ("/token", "post", "403"): post("/token", data={"grant_type": "refresh_token"}, headers=FOREIGN),
    ("/token", "post", "400"): post("/token", data={"grant_type": "password"}),
    ("/token", "post", "401"): as_unknown_client("/token"),
    ("/revoke", "post", "200"): as_client("/revoke", shows_token=True),
    ("/revoke", "post", "400"): as_client("/revoke", shows_token=False),
    ("/revoke", "post", "401"): as_unknown_client("/revoke"),
    ("/introspect", "post", "200"): as_client("/introspect", shows_token=True),
    ("/introspect", "post", "400"): as_client("/introspect", shows_token=False),
    ("/introspect", "post", "401"): as_unknown_client("/introspect"),
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
    ("/status-lists", "get", "304"): get("/status-lists", headers=UNCHANGED),
    ("/status-lists/{id}", "get", "200"): get("/status-lists/1"),
    ("/status-lists/{id}", "get", "304"): get("/status-lists/1", headers=UNCHANGED),
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
    ("/.well-known/jwks.json", "get", "304"): get("/.well-known/jwks.json", headers=UNCHANGED),
    (METADATA, "get", "200"): get(METADATA),
    (METADATA, "get", "304"): get(METADATA, headers=UNCHANGED),
    ("/openapi.json", "get", "200"): get("/openapi.json"),
    ("/openapi.json", "get", "304"): get("/openapi.json", headers=UNCHANGED),
}
THROTTLED: dict[tuple[str, str, str], Ask] = {
    ("/password", "post", "429"): often(
        "POST", "/password", {"current_password": "wrong", "new_password": NEW}, as_owner=True
    ),
    ("/me", "delete", "429"): often("DELETE", "/me", {"password": "wrong"}, as_owner=True),
    ("/register", "post", "429"): often("POST", "/register", CREDENTIALS),
    ("/login", "post", "429"): often("POST", "/login", CREDENTIALS | {"password": "wrong"}),
    ("/password/forgot", "post", "429"): often("POST", "/password/forgot", ADDRESS),
    ("/email/verify/resend", "post", "429"): often("POST", "/email/verify/resend", ADDRESS),
    ("/password/reset", "post", "429"): often("POST", "/password/reset", {"token": RESET, "password": NEW}),
}
DURING_OUTAGE: dict[tuple[str, str, str], Ask] = {
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
    ("/revoke", "post", "503"): as_unknown_client("/revoke"),
    ("/introspect", "post", "503"): as_unknown_client("/introspect"),
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
}
"""Tested in test_database_outages.py, with a token from before the outage, or in the file that the comment names."""


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database(), COOKIE_ORIGINS="https://app.example") as process:
        yield process


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return contract()


def check(document: dict[str, Any], path: str, method: str, status: str, response: httpx.Response) -> None:
    assert response.status_code == int(status)
    documented = resolved(document, document["paths"][path][method]["responses"][status])
    headers = {name: resolved(document, header) for name, header in documented.get("headers", {}).items()}
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
    assert documented == set(SERVED) | set(THROTTLED) | set(DURING_OUTAGE) | ELSEWHERE


def test_every_documented_response_occurs(issuer: IssuerProcess, document: dict[str, Any]) -> None:
    for (path, method, status), ask in SERVED.items():
        check(document, path, method, status, ask(issuer))


def test_client_tokens_and_their_introspection_are_as_documented(
    issuer: IssuerProcess, document: dict[str, Any]
) -> None:
    without_scope = with_secret(issuer)
    check(document, "/token", "post", "200", without_scope.ask())
    check(document, "/introspect", "post", "200", without_scope.post("/introspect", token="x"))


def test_every_documented_rate_limit_occurs(document: dict[str, Any], database_url: str) -> None:
    with running_issuer(database_url, REQUESTS_PER_IP="1") as issuer:
        for (path, method, status), ask in THROTTLED.items():
            check(document, path, method, status, ask(issuer))


def test_every_documented_outage_response_occurs(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    keys, mail = (tmp_path_factory.mktemp(name) for name in ("no-keys", "mail"))
    with running_issuer(nowhere, keys, ready=503, MAIL_URL=mail.as_uri(), MAIL_FROM="no-reply@example.com") as issuer:
        for (path, method, status), ask in DURING_OUTAGE.items():
            check(document, path, method, status, ask(issuer))


def test_every_route_is_documented(issuer: IssuerProcess, document: dict[str, Any]) -> None:
    assert HTTP.get(f"{issuer.url}/openapi.json").json() == document
    for path, item in document["paths"].items():
        allow = HTTP.options(issuer.url + path).headers["allow"].lower().split(", ")
        assert set(allow) - {"head", "options"} == set(item)
