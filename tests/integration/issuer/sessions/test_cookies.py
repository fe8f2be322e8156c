"""Sessions whose tokens are in cookies: `/login`, `/token` and `/logout`, from pages of the listed origins only."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookies import Morsel, SimpleCookie
from itertools import product
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.machines import basic, public_client, with_secret
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres, execute
from tests.support.token_forge import claims_of
from tests.support.vectors import load

APP, SPA = "https://app.example", "https://spa.example"
ACCESS, REFRESH = "__Host-access_token", "__Host-refresh_token"
PAGE: Final = {"Origin": APP, "Sec-Fetch-Site": "same-origin"}
"""Fields of a request that a script of the application's page sends with `fetch`."""
INVALID_GRANT: Final = {"error": "invalid_grant"}
IDLE, ABSOLUTE = 3600, 3700

Json = dict[str, Any]


@pytest.fixture(scope="module")
def issuer(postgres: Postgres) -> Iterator[IssuerProcess]:
    with running_issuer(
        postgres.migrated_database(),
        COOKIE_ORIGINS=APP,
        CORS_ORIGINS=SPA,
        SESSION_IDLE_SECONDS=str(IDLE),
        SESSION_SECONDS=str(ABSOLUTE),
        ARGON2_MEMORY_MIB="7",
    ) as process:
        yield process


@pytest.fixture
def email(issuer: IssuerProcess) -> str:
    email = f"{uuid4().hex}@example.com"
    issuer.register(email)
    return email


def log_in(issuer: IssuerProcess, email: str, headers: Json | None = None, **members: Any) -> httpx.Response:
    body = {"email": email, "password": PASSWORD, "cookies": True} | members
    return HTTP.post(f"{issuer.url}/login", json=body, headers=PAGE if headers is None else headers)


def send(issuer: IssuerProcess, path: str, cookies: str, headers: Json = PAGE, **form: str) -> httpx.Response:
    fields = headers | ({"Cookie": cookies} if cookies else {})
    return HTTP.post(issuer.url + path, data=form or None, headers=fields)


def refresh(issuer: IssuerProcess, token: str, **form: str) -> httpx.Response:
    return send(issuer, "/token", f"{REFRESH}={token}", PAGE, grant_type="refresh_token", **form)


def set_cookies(response: httpx.Response) -> dict[str, Morsel[str]]:
    """Return the cookies that a response sets, with their attributes."""
    fields = response.headers.get_list("set-cookie")
    cookies = [SimpleCookie(field) for field in fields]
    assert len(fields) == len({name for cookie in cookies for name in cookie})
    return {name: morsel for cookie in cookies for name, morsel in cookie.items()}


def values(response: httpx.Response) -> tuple[str, str]:
    """Return the access and the refresh token that a response sets."""
    assert response.status_code == 200, response.text
    cookies = set_cookies(response)
    return cookies[ACCESS].value, cookies[REFRESH].value


def is_live(issuer: IssuerProcess, access_token: str) -> bool:
    return issuer.request("GET", "/me", access_token).status_code == 200


def test_a_login_sets_both_tokens_where_no_script_can_read_them(issuer: IssuerProcess, email: str) -> None:
    response = log_in(issuer, email)
    access_token, refresh_token = values(response)
    assert response.json() == {
        "expires_in": claims_of(access_token)["exp"] - claims_of(access_token)["iat"],
        "scope": "profile",
    }
    assert response.headers["Cache-Control"] == "no-store"
    for name, cookie in set_cookies(response).items():
        assert name.startswith("__Host-")
        assert (cookie["path"], cookie["domain"], cookie["samesite"].lower()) == ("/", "", "strict")
        assert cookie["secure"] is cookie["httponly"] is True
    assert is_live(issuer, access_token)
    assert values(refresh(issuer, refresh_token))[1] != refresh_token


def test_cookies_live_as_long_as_what_they_hold(issuer: IssuerProcess, email: str) -> None:
    first = log_in(issuer, email)
    cookies = set_cookies(first)
    assert int(cookies[ACCESS]["max-age"]) == first.json()["expires_in"]
    assert IDLE - 5 < int(cookies[REFRESH]["max-age"]) <= IDLE
    # The session has 100 s left, however often it is refreshed.
    execute(
        issuer.database_url,
        "UPDATE sessions"
        " SET expires_at = now() + interval '100 seconds', idle_expires_at = now() + interval '90 seconds'"
        " WHERE user_id = (SELECT id FROM users WHERE email_key = $1)",
        email,
    )
    cookies = set_cookies(refresh(issuer, cookies[REFRESH].value))
    assert 85 < int(cookies[ACCESS]["max-age"]) <= int(cookies[REFRESH]["max-age"]) <= 100


def test_a_lost_response_is_repeated_with_the_same_cookie(issuer: IssuerProcess, email: str) -> None:
    _, first = values(log_in(issuer, email))
    lost, repeated = values(refresh(issuer, first)), values(refresh(issuer, first))
    assert lost[1] == repeated[1] != first
    assert values(refresh(issuer, repeated[1]))[1] not in {first, lost[1]}
    # The first one was used, and its successor too.
    assert refresh(issuer, first).json() == INVALID_GRANT
    assert refresh(issuer, repeated[1]).json() == INVALID_GRANT


def test_tabs_that_refresh_together_get_one_valid_cookie(issuer: IssuerProcess, email: str) -> None:
    _, refresh_token = values(log_in(issuer, email))
    with ThreadPoolExecutor(5) as tabs:
        responses = [values(response) for response in tabs.map(lambda _: refresh(issuer, refresh_token), range(5))]
    assert len({successor for _, successor in responses}) == 1
    assert all(is_live(issuer, access_token) for access_token, _ in responses)
    assert refresh(issuer, responses[0][1]).status_code == 200


def test_a_session_in_cookies_is_bound_to_its_client(issuer: IssuerProcess, email: str) -> None:
    execute(issuer.database_url, "UPDATE users SET scope = 'read write' WHERE email_key = $1", email)
    shop = public_client(
        issuer, f"shop-{uuid4().hex}"[:20], "read write", ["https://shop.example", "https://stock.example"]
    )
    access_token, refresh_token = values(log_in(issuer, email, client_id=shop))
    assert (claims_of(access_token)["client_id"], claims_of(access_token)["aud"]) == (shop, "https://shop.example")
    assert refresh(issuer, refresh_token, client_id="first-party").json() == INVALID_GRANT
    narrowed = refresh(issuer, refresh_token, client_id=shop, scope="read", resource="https://stock.example")
    assert narrowed.json()["scope"] == "read"
    assert claims_of(values(narrowed)[0])["aud"] == "https://stock.example"


def test_a_logout_revokes_the_session_and_clears_the_cookies(issuer: IssuerProcess, email: str) -> None:
    access_token, refresh_token = values(log_in(issuer, email))
    # The browser has dropped the access token, which has expired.
    for _ in range(2):
        response = send(issuer, "/logout", f"theme=dark; {REFRESH}={refresh_token}")
        assert response.status_code == 204
        cleared = set_cookies(response)
        assert set(cleared) == {ACCESS, REFRESH}
        for cookie in cleared.values():
            assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/")
            assert cookie["secure"] is cookie["httponly"] is True
    assert not is_live(issuer, access_token)
    assert refresh(issuer, refresh_token).json() == INVALID_GRANT


def test_cookies_may_come_in_several_fields(issuer: IssuerProcess, email: str) -> None:
    """HTTP/2 may split them (RFC 9113 §8.2.3), and a proxy may forward them so."""
    access_token, refresh_token = values(log_in(issuer, email))
    fields = [*PAGE.items(), ("Cookie", "theme=dark"), ("Cookie", f"{REFRESH}={refresh_token}")]
    assert HTTP.post(f"{issuer.url}/logout", headers=fields).status_code == 204
    assert not is_live(issuer, access_token)


@pytest.mark.parametrize("token", [b"", b"gpr_" + b"A" * 72, b"x y", b"%00", b"\xe9"])
def test_a_logout_with_an_invalid_cookie_clears_it(issuer: IssuerProcess, token: bytes) -> None:
    fields = [(name.encode(), value.encode()) for name, value in PAGE.items()]
    cookie = (b"Cookie", REFRESH.encode() + b"=" + token)
    response = HTTP.post(f"{issuer.url}/logout", headers=[*fields, cookie])
    assert (response.status_code, response.json()["type"]) == (401, "urn:gatepass:problem:invalid-token")
    assert {cookie["max-age"] for cookie in set_cookies(response).values()} == {"0"}


def test_a_rejected_request_sets_and_clears_no_cookie(issuer: IssuerProcess, email: str) -> None:
    _, refresh_token = values(log_in(issuer, email))
    foreign = PAGE | {"Sec-Fetch-Site": "same-site"}
    responses = [
        log_in(issuer, email, password="another password"),
        log_in(issuer, email, foreign),
        log_in(issuer, email, cookies="true"),
        refresh(issuer, "gpr_" + "A" * 72),
        refresh(issuer, refresh_token, scope="more"),
        send(issuer, "/token", f"{REFRESH}={refresh_token}", foreign, grant_type="refresh_token"),
        send(issuer, "/logout", f"{REFRESH}={refresh_token}", foreign),
        send(issuer, "/logout", ""),
    ]
    assert [response.status_code for response in responses] == [401, 403, 422, 400, 400, 403, 403, 401]
    assert all(not set_cookies(response) for response in responses)
    # No tab that is late may log out another one, so the cookie stays, and what was rejected has used up nothing.
    assert refresh(issuer, refresh_token).status_code == 200


def test_other_endpoints_accept_no_cookie(issuer: IssuerProcess, email: str) -> None:
    access_token, refresh_token = values(log_in(issuer, email))
    headers = PAGE | {"Cookie": f"{ACCESS}={access_token}; {REFRESH}={refresh_token}"}
    for method, path in (
        ("GET", "/me"),
        ("DELETE", "/me"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("POST", "/password"),
    ):
        assert HTTP.request(method, issuer.url + path, headers=headers).status_code == 401
    for path in ("/revoke", "/introspect"):
        assert HTTP.post(issuer.url + path, headers=headers, data={"token_type_hint": "x"}).json() == {
            "error": "invalid_client"
        }
    machine = with_secret(issuer, f"machine-{uuid4().hex}"[:20], "reports", ["gatepass"])
    response = HTTP.post(
        f"{issuer.url}/token",
        headers=headers | basic(machine.id, machine.secret or ""),
        data={"grant_type": "client_credentials"},
    )
    assert response.json()["access_token"]
    assert not set_cookies(response)
    assert is_live(issuer, access_token)


def test_an_access_token_in_a_cookie_does_not_log_out(issuer: IssuerProcess, email: str) -> None:
    access_token, _ = values(log_in(issuer, email))
    assert send(issuer, "/logout", f"{ACCESS}={access_token}").status_code == 401
    assert is_live(issuer, access_token)


def test_a_page_that_may_call_the_issuer_may_not_use_cookies(issuer: IssuerProcess, email: str) -> None:
    for site in ("cross-site", "same-site", "same-origin", None):
        headers = {"Origin": SPA} | ({"Sec-Fetch-Site": site} if site else {})
        assert log_in(issuer, email, headers).status_code == 403
        assert log_in(issuer, email, headers, cookies=False).json()["access_token"]


def test_a_session_in_a_cookie_exempts_from_failures_of_others(issuer: IssuerProcess, email: str) -> None:
    _, refresh_token = values(log_in(issuer, email))
    failed = [log_in(issuer, email, password="another password").status_code for _ in range(60)]
    assert failed[-1] == 429
    assert log_in(issuer, email).status_code == 429
    values(log_in(issuer, email, PAGE | {"Cookie": f"{REFRESH}={refresh_token}"}))


def test_without_origins_cookies_are_neither_set_nor_read(issuer: IssuerProcess, email: str) -> None:
    with running_issuer(issuer.database_url, issuer.keys_dir) as plain:
        rejected = log_in(plain, email)
        fault = {"field": "cookies", "detail": "is not supported: this issuer sets no cookies"}
        assert (rejected.status_code, rejected.json()["errors"]) == (422, [fault])
        tokens = log_in(plain, email, cookies=False).json()
        carried = f"{ACCESS}={tokens['access_token']}; {REFRESH}={tokens['refresh_token']}"
        assert send(plain, "/token", carried, grant_type="refresh_token").json() == {"error": "invalid_request"}
        assert send(plain, "/logout", carried).status_code == 401
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        response = send(plain, "/token", carried, {"Origin": "https://foreign.example"}, **form)
        assert response.json()["refresh_token"]
        assert not set_cookies(response)


def test_the_vectors_have_every_combination_once() -> None:
    names = ("carrier", "site", "origin", "method", "type")
    for endpoint in ("/login", "/token", "/logout"):
        vectors = [tuple(v[name] for name in names) for v in load("browsers/issuer") if v["endpoint"] == endpoint]
        assert len(set(vectors)) == len(vectors)
        assert set(vectors) == set(product(*(set(column) for column in zip(*vectors, strict=True))))


def test_every_combination_has_the_outcome_of_its_vector(issuer: IssuerProcess, email: str) -> None:
    unharmed, refreshed, ended = (log_in(issuer, email, cookies=False).json() for _ in range(3))
    wrong = []
    with httpx.Client(timeout=30) as client:
        for vector in load("browsers/issuer"):
            match vector["expected"], vector["endpoint"]:
                case "revoked" | "cleared", _:
                    tokens = ended
                case "cookies" | "tokens", "/token":
                    tokens = refreshed
                case _:
                    tokens = unharmed
            response = client.send(_request(client, issuer.url, email, vector, tokens))
            if _outcome(response) != vector["expected"]:
                wrong.append((vector, response.text))
            if tokens is refreshed and response.is_success:
                body = response.json()
                refreshed["refresh_token"] = body.get("refresh_token") or values(response)[1]
            client.cookies.clear()
    assert wrong == []
    assert not is_live(issuer, ended["access_token"])
    # Nothing that was rejected has changed its session.
    assert is_live(issuer, unharmed["access_token"])
    assert issuer.refresh(unharmed["refresh_token"]).status_code == 200


def _request(client: httpx.Client, url: str, email: str, vector: Json, tokens: Json) -> httpx.Request:
    refresh_token = tokens["refresh_token"]
    cookie = f"{REFRESH}={refresh_token}"
    cookies = {"cookie": cookie, "two cookies": f"{cookie}; {cookie}"}
    carried = [cookies[word] for word in cookies if word in vector["carrier"]]
    fields = {
        "Origin": vector["origin"],
        "Sec-Fetch-Site": vector["site"],
        "Content-Type": vector["type"],
        "Cookie": carried[-1] if carried and vector["endpoint"] != "/login" else None,
        "Authorization": f"Bearer {tokens['access_token']}" if "bearer" in vector["carrier"] else None,
    }
    asked = ', "cookies": true' if vector["carrier"] == "cookies asked" else ""
    parameter = f"&refresh_token={refresh_token}" if "parameter" in vector["carrier"] else ""
    bodies = {
        "/login": f'{{"email": "{email}", "password": "{PASSWORD}"{asked}}}',
        "/token": f"grant_type=refresh_token{parameter}",
        "/logout": "",
    }
    headers = {name: value for name, value in fields.items() if value is not None}
    return client.build_request(
        vector["method"], url + vector["endpoint"], headers=headers, content=bodies[vector["endpoint"]].encode()
    )


def _outcome(response: httpx.Response) -> str:
    """Return the effect of a response on the client's tokens, or the kind of its error."""
    if response.is_success:
        cookies = set_cookies(response)
        if cookies:
            assert "token" not in response.text
            return "cookies" if all(cookie.value for cookie in cookies.values()) else "cleared"
        return "tokens" if response.content else "revoked"
    document = response.json()
    return str(document.get("type", "").removeprefix("urn:gatepass:problem:") or document["error"])
