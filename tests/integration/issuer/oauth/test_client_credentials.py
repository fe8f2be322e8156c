"""Client authentication (RFC 6749 §2.3, RFC 7523) and the client credentials grant (§4.4)."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.machines import ASSERTION_TYPE, Machine, basic, with_key, with_secret
from tests.support.plain_http import HTTP, visible
from tests.support.postgres import execute
from tests.support.token_forge import claims_of

FORM = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def second(issuer: IssuerProcess) -> Iterator[IssuerProcess]:
    """Yield another process of the same issuer."""
    with running_issuer(issuer.database_url, issuer.keys_dir, URL=issuer.url) as process:
        yield process


@pytest.fixture(scope="module")
def machine(issuer: IssuerProcess) -> Machine:
    return with_secret(issuer, "reports", "read write", ["api", "files"])


@pytest.fixture(scope="module")
def keyed(issuer: IssuerProcess) -> Machine:
    return with_key(issuer, "read")


def send(issuer: IssuerProcess, form: Any, **request: Any) -> httpx.Response:
    return HTTP.post(f"{issuer.url}/token", data=form, **request)


def assert_error(response: httpx.Response, code: str, status: int = 400) -> None:
    assert (response.status_code, response.json()) == (status, {"error": code})
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"


def assert_invalid_client(response: httpx.Response) -> None:
    assert_error(response, "invalid_client", 401)
    assert response.headers["www-authenticate"] == 'Basic realm="gatepass"'


# RFC 6749 §4.4: the grant.


def test_rfc6749_4_4_a_client_with_a_secret_gets_a_token(machine: Machine) -> None:
    response = machine.ask()
    body = response.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["scope"]) == ("Bearer", "read write")
    assert (response.headers["cache-control"], response.headers["pragma"]) == ("no-store", "no-cache")
    claims = claims_of(body["access_token"])
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("reports", "reports", "api")
    assert set(claims) == {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "status"}


def test_rfc7523_2_2_a_client_with_a_key_gets_a_token(keyed: Machine) -> None:
    assert claims_of(keyed.token())["sub"] == keyed.id


def test_rfc6749_3_3_a_scope_may_be_narrowed_and_not_widened(machine: Machine) -> None:
    assert claims_of(machine.token(scope="write"))["scope"] == "write"
    assert claims_of(machine.token(scope="write read"))["scope"] == "read write"
    for scope in ("admin", "read admin", "read  write", " read", "READ"):
        assert_error(machine.ask(scope=scope), "invalid_scope")


def test_rfc6749_3_3_a_client_without_scopes_gets_none(issuer: IssuerProcess) -> None:
    machine = with_secret(issuer)
    assert "scope" not in machine.ask().json()
    assert claims_of(machine.token())["scope"] == ""
    assert_error(machine.ask(scope="read"), "invalid_scope")


def test_rfc8707_2_a_token_is_for_one_of_the_clients_audiences(machine: Machine) -> None:
    assert claims_of(machine.token(resource="files"))["aud"] == "files"
    assert claims_of(machine.token(audience="files"))["aud"] == "files"
    assert_error(machine.ask(resource="elsewhere"), "invalid_target")
    assert_error(machine.ask(resource="files", audience="api"), "invalid_target")


def test_rfc6749_4_4_3_no_refresh_token_is_issued(issuer: IssuerProcess, machine: Machine) -> None:
    assert "refresh_token" not in machine.ask().json()
    token = issuer.session("refresher@example.com")["refresh_token"]
    assert_error(machine.post("/token", grant_type="refresh_token", refresh_token=token), "unauthorized_client")
    assert issuer.refresh(token).status_code == 200


def test_a_client_token_opens_no_account_endpoint(issuer: IssuerProcess) -> None:
    token = with_secret(issuer).token()
    assert claims_of(token)["aud"] == "gatepass"
    me = issuer.request("GET", "/me", token)
    assert (me.status_code, me.json()["type"]) == (401, "urn:gatepass:problem:invalid-token")


# RFC 6749 §3.2 and §5.2: requests and errors.


@pytest.mark.parametrize("grant", ["password", "authorization_code", "implicit", "urn:x", "CLIENT_CREDENTIALS", "é"])
def test_rfc6749_5_2_other_grants_are_unsupported(machine: Machine, grant: str) -> None:
    assert_error(machine.post("/token", grant_type=grant, username="ann", password="x"), "unsupported_grant_type")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "grant_type=",
        "scope=read",
        "grant_type=client_credentials&grant_type=client_credentials",
        "grant_type=client_credentials&scope=read&scope=read",
        "grant_type=client_credentials&x=1&x=2",
        "grant_type=client_credentials&scope=%00",
        "grant_type=client_credentials&scope=%FF",
        "grant_type=client_credentials&scope=%",
        "grant_type=client_credentials&" + "&".join(f"x{number}=1" for number in range(40)),
        "grant_type=client_credentials&x=" + "x" * 70_000,
    ],
)
def test_rfc6749_5_2_a_malformed_form_is_an_invalid_request(machine: Machine, body: str) -> None:
    fields = basic(machine.id, machine.secret or "") | {"Content-Type": "application/x-www-form-urlencoded"}
    assert_error(HTTP.post(f"{machine.issuer.url}/token", content=body, headers=fields), "invalid_request")


def test_rfc6749_3_2_only_a_form_is_a_request(machine: Machine) -> None:
    fields = basic(machine.id, machine.secret or "")
    url = f"{machine.issuer.url}/token"
    assert_error(HTTP.post(url, json=FORM, headers=fields), "invalid_request")
    assert_error(HTTP.post(url, params=FORM, headers=fields), "invalid_request")
    assert HTTP.get(url, params=FORM, headers=fields).status_code == 405


def test_rfc6749_3_2_unknown_and_empty_parameters_are_ignored(machine: Machine) -> None:
    assert machine.ask(scope="", nonsense="1").json()["scope"] == "read write"


# RFC 6749 §2.3: authentication by a secret.


def test_rfc6749_2_3_an_unknown_client_and_a_wrong_secret_look_the_same(
    issuer: IssuerProcess, machine: Machine, keyed: Machine
) -> None:
    wrong = [
        send(issuer, FORM, headers=basic(machine.id, "gpc_wrong")),
        send(issuer, FORM, headers=basic("nobody", machine.secret or "")),
        send(issuer, FORM, headers=basic(keyed.id, "gpc_wrong")),
        send(issuer, FORM, headers=basic("\0", "\0")),
        send(issuer, FORM, headers=basic("é" * 100, "é")),
        send(issuer, FORM, headers=basic(machine.id, "")),
        send(issuer, FORM, headers={"Authorization": "Basic !"}),
        send(issuer, FORM, headers={"Authorization": "Basic cmVwb3J0cw=="}),
        send(issuer, FORM, headers={"Authorization": "Basic JUZGOiVGRg=="}),
        send(issuer, FORM, headers={"Authorization": "Basic cmVwb3J0czolRkY="}),
        send(issuer, FORM, headers={"Authorization": f"Bearer {machine.secret}"}),
        send(issuer, FORM | {"client_id": machine.id, "client_secret": machine.secret or ""}),
        send(issuer, FORM | {"client_id": machine.id}),
        send(issuer, FORM | {"client_id": keyed.id}),
        send(issuer, FORM | {"client_id": "first-party"}),
        send(issuer, FORM),
    ]
    assert_invalid_client(wrong[0])
    assert [visible(response) for response in wrong] == [visible(wrong[0])] * len(wrong)


def test_rfc6749_2_3_more_than_one_authentication_is_an_invalid_request(
    issuer: IssuerProcess, machine: Machine, keyed: Machine
) -> None:
    by_secret = basic(machine.id, machine.secret or "")
    by_key = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": keyed.assertion()}
    assert_error(send(issuer, FORM | by_key, headers=by_secret), "invalid_request")
    assert_error(send(issuer, FORM | {"client_secret": machine.secret}, headers=by_secret), "invalid_request")
    assert_error(send(issuer, FORM, headers=[*by_secret.items(), *by_secret.items()]), "invalid_request")
    for half in by_key.items():
        assert_error(send(issuer, FORM | dict([half])), "invalid_request")
    assert_invalid_client(send(issuer, FORM | {"client_id": keyed.id}, headers=by_secret))
    assert send(issuer, FORM | {"client_id": machine.id}, headers=by_secret).status_code == 200


def test_rfc6749_2_3_1_a_secret_in_the_body_is_rejected_whatever_else_is_sent(issuer: IssuerProcess) -> None:
    token = issuer.session()["refresh_token"]
    assert_invalid_client(issuer.refresh(token, client_secret="x"))
    assert issuer.refresh(token).status_code == 200


def test_rfc6749_2_3_1_id_and_secret_are_form_encoded(issuer: IssuerProcess) -> None:
    machine = with_secret(issuer, "a.b_c-d")
    assert send(issuer, FORM, headers=basic(machine.id, machine.secret or "")).status_code == 200
    assert send(issuer, FORM, auth=(machine.id, machine.secret or "")).status_code == 200


# RFC 7523 §3: authentication by an assertion.


def prove(machine: Machine, assertion: str, url: str | None = None, **form: str) -> httpx.Response:
    proof = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return HTTP.post(f"{url or machine.issuer.url}/token", data=FORM | proof | form)


def test_rfc7523_3_7_of_forty_uses_at_once_one_succeeds(keyed: Machine, second: IssuerProcess) -> None:
    assertion = keyed.assertion()
    urls = [keyed.issuer.url, second.url] * 20
    with ThreadPoolExecutor(40) as pool:
        responses = list(pool.map(lambda url: prove(keyed, assertion, url).status_code, urls))
    assert sorted(responses) == [200] + [401] * 39


def test_rfc7523_3_7_a_jti_is_the_clients_own(issuer: IssuerProcess, keyed: Machine) -> None:
    other = with_key(issuer)
    assert prove(keyed, keyed.assertion(jti="shared")).status_code == 200
    assert prove(other, other.assertion(jti="shared")).status_code == 200
    assert_invalid_client(prove(other, other.assertion(jti="shared")))


def test_a_rejected_assertion_is_not_used_up(keyed: Machine) -> None:
    assertion = keyed.assertion()
    assert_invalid_client(prove(keyed, assertion, client_id="reports"))
    assert prove(keyed, assertion, client_id=keyed.id).status_code == 200


def test_a_client_whose_stored_key_is_unusable_is_not_authenticated(issuer: IssuerProcess) -> None:
    machine = with_key(issuer)
    corrupt = """UPDATE clients SET jwks = replace(jwks::text, '"e": "AQAB"', '"e": "AQAB=="')::jsonb WHERE id = $1"""
    execute(issuer.database_url, corrupt, machine.id)
    assert_invalid_client(prove(machine, machine.assertion()))


def test_rfc7523_3_a_jti_is_stored_as_a_hash_until_its_assertion_expires(keyed: Machine) -> None:
    assert prove(keyed, keyed.assertion(jti="remember me")).status_code == 200
    rows = execute(
        keyed.issuer.database_url,
        "SELECT expires_at - now() < interval '2 minutes' AS soon FROM client_assertions WHERE jti_hash = $1",
        hashlib.sha256(b"remember me").digest(),
    )
    assert [row["soon"] for row in rows] == [True]


def test_rfc7521_4_2_other_assertion_types_are_rejected(issuer: IssuerProcess, keyed: Machine) -> None:
    kind = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    form = FORM | {"client_assertion_type": kind, "client_assertion": keyed.assertion()}
    assert_invalid_client(send(issuer, form))


def test_an_access_token_is_not_accepted_as_an_assertion(issuer: IssuerProcess, keyed: Machine) -> None:
    assert_invalid_client(prove(keyed, keyed.token()))
    assert_invalid_client(prove(keyed, issuer.session("asserter@example.com")["access_token"]))


# Status list indices.


def test_all_tokens_of_a_client_share_an_index_and_no_two_clients_do(issuer: IssuerProcess) -> None:
    machine, other = with_secret(issuer), with_secret(issuer)
    with ThreadPoolExecutor(8) as pool:
        first, *more = [claims_of(token)["status"] for token in pool.map(lambda _: machine.token(), range(8))]
    assert more == [first] * 7
    assert claims_of(other.token())["status"] != first
