"""Revocation (RFC 7009) and introspection (RFC 7662)."""

import json
import time
from typing import Any

import httpx
import jwt
import pytest

from issuer.keys.store import load_key_set
from tests.integration.issuer.oauth.test_client_credentials import assert_error, assert_invalid_client
from tests.support.issuer_process import IssuerProcess, running_issuer
from tests.support.machines import Machine, operate, with_key, with_secret
from tests.support.plain_http import HTTP
from tests.support.postgres import execute
from tests.support.processes import free_port
from tests.support.token_forge import claims_of

INACTIVE = b'{"active":false}'


@pytest.fixture(scope="module")
def resource(issuer: IssuerProcess) -> Machine:
    """Return a resource server, which introspects the tokens that it receives."""
    return with_secret(issuer, "resource-server")


def revoke(issuer: IssuerProcess, token: str, **form: str) -> httpx.Response:
    """Revoke a token as the first-party client."""
    data = {"token": token, "client_id": "first-party"} | form
    return HTTP.post(f"{issuer.url}/revoke", data=data)


def introspect(client: Machine, token: str, **form: str) -> Any:
    response = client.post("/introspect", token=token, **form)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    return response.json()


def is_inactive(client: Machine, token: str) -> bool:
    return client.post("/introspect", token=token).content == INACTIVE


def revoked(issuer: IssuerProcess, token: str) -> bool:
    reference = claims_of(token)["status"]["status_list"]
    rows = execute(
        issuer.database_url,
        "SELECT 1 FROM revocations WHERE status_list_id = $1 AND status_idx = $2",
        int(reference["uri"].rsplit("/", 1)[1]),
        reference["idx"],
    )
    return bool(rows)


def signed(issuer: IssuerProcess, payload: str) -> str:
    """Return an access token with this payload and the issuer's signature."""
    key = load_key_set(issuer.keys_dir).signing
    assert key is not None
    return jwt.api_jws.encode(payload.encode(), key.private, "RS256", {"kid": key.kid, "typ": "at+jwt"})


def assert_revoked(response: httpx.Response) -> None:
    assert (response.status_code, response.content) == (200, b"")


# RFC 7009: revocation.


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "refresh_token"}])
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_rfc7009_2_1_either_token_revokes_the_session_with_any_hint(
    issuer: IssuerProcess, kind: str, hint: dict[str, str]
) -> None:
    tokens = issuer.session()
    assert_revoked(revoke(issuer, tokens[kind], **hint))
    assert_error(issuer.refresh(tokens["refresh_token"]), "invalid_grant")
    assert issuer.request("GET", "/me", tokens["access_token"]).status_code == 401
    assert revoked(issuer, tokens["access_token"])


def test_rfc7009_2_1_an_old_refresh_token_revokes_its_session(issuer: IssuerProcess) -> None:
    first = issuer.session()
    second = issuer.refresh(first["refresh_token"]).json()
    assert_revoked(revoke(issuer, first["refresh_token"]))
    assert_error(issuer.refresh(second["refresh_token"]), "invalid_grant")
    assert revoked(issuer, second["access_token"])


def test_rfc7009_2_2_unknown_tokens_get_the_same_response(issuer: IssuerProcess, resource: Machine) -> None:
    tokens = issuer.session()
    assert_revoked(revoke(issuer, tokens["refresh_token"]))
    nothing = ["x", "a.b.c", "é\r\n", "gpr_" + "A" * 72, "x" * 9999]
    for token in [tokens["refresh_token"], tokens["access_token"], *nothing]:
        assert_revoked(revoke(issuer, token))
    for token in nothing:
        assert_revoked(resource.post("/revoke", token=token, token_type_hint="nonsense"))


def test_rfc7009_2_1_a_forged_token_revokes_nothing(issuer: IssuerProcess) -> None:
    tokens = issuer.session()
    forged = tokens["refresh_token"][:-2] + ("AA" if not tokens["refresh_token"].endswith("AA") else "BB")
    assert_revoked(revoke(issuer, forged))
    assert_revoked(revoke(issuer, tokens["access_token"][:-8] + "AAAAAAAA"))
    assert issuer.request("GET", "/me", tokens["access_token"]).status_code == 200


def test_rfc7009_2_1_a_token_of_another_client_is_not_revoked(issuer: IssuerProcess, resource: Machine) -> None:
    tokens = issuer.session()
    other = with_secret(issuer)
    token = other.token()
    for shown in (tokens["refresh_token"], tokens["access_token"], token):
        assert_error(resource.post("/revoke", token=shown), "unauthorized_client")
    assert_error(revoke(issuer, token), "unauthorized_client")
    assert issuer.request("GET", "/me", tokens["access_token"]).status_code == 200
    assert not revoked(issuer, token)


def test_rfc7009_2_1_a_client_revokes_its_own_tokens_and_gets_new_ones(issuer: IssuerProcess) -> None:
    for machine in (with_secret(issuer), with_key(issuer)):
        token, twin = machine.token(), machine.token()
        assert_revoked(machine.post("/revoke", token=token))
        assert revoked(issuer, token)
        assert revoked(issuer, twin)
        fresh = machine.token()
        assert not revoked(issuer, fresh)
        assert_revoked(machine.post("/revoke", token=token))
        assert not revoked(issuer, fresh)


def test_rfc7009_2_1_a_client_authenticates(issuer: IssuerProcess) -> None:
    token = issuer.session()["refresh_token"]
    url = f"{issuer.url}/revoke"
    assert_invalid_client(HTTP.post(url, data={"token": token}))
    assert_invalid_client(HTTP.post(url, data={"token": token, "client_id": "resource-server"}))
    assert_invalid_client(HTTP.post(url, data={"token": token}, auth=("resource-server", "gpc_wrong")))
    assert_invalid_client(HTTP.post(url, data={"token": token, "client_id": "first-party"}, auth=("first-party", "")))
    assert issuer.refresh(token).status_code == 200


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token_type_hint": "access_token"}])
def test_rfc7009_2_1_a_token_is_required(resource: Machine, form: dict[str, str]) -> None:
    assert_error(resource.post("/revoke", **form), "invalid_request")
    assert_error(resource.post("/introspect", **form), "invalid_request")


def test_rfc7009_2_2_1_during_an_outage_no_revocation_is_confirmed(issuer: IssuerProcess) -> None:
    machine, tokens = with_secret(issuer), issuer.session()
    token = machine.token()
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    with running_issuer(nowhere, issuer.keys_dir, ready=503, URL=issuer.url) as cut_off:
        for response in (
            revoke(cut_off, tokens["refresh_token"]),
            revoke(cut_off, tokens["access_token"]),
            machine.post("/revoke", cut_off.url, token=token),
            machine.post("/introspect", cut_off.url, token=token),
            machine.post("/token", cut_off.url, grant_type="client_credentials"),
        ):
            assert_error(response, "temporarily_unavailable", 503)
            assert int(response.headers["retry-after"]) >= 1
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200
    assert not revoked(issuer, token)


def test_a_revocation_is_audited_with_its_client(issuer: IssuerProcess) -> None:
    machine = with_secret(issuer)
    machine.post("/revoke", token=machine.token())
    revoke(issuer, issuer.session()["refresh_token"])
    rows = execute(issuer.database_url, "SELECT kind, actor, client_id, detail::text FROM audit_events")
    assert ("client_tokens_revoked", "client", machine.id, "{}") in [tuple(row) for row in rows]
    assert ("session_revoked", "self", "first-party", '{"reason": "revoked"}') in [tuple(row) for row in rows]


# RFC 7662: introspection.


def test_rfc7662_2_2_introspection_returns_claims_and_no_personal_data(
    issuer: IssuerProcess, resource: Machine
) -> None:
    returned = ("iss", "sub", "client_id", "scope", "aud", "exp", "iat", "jti")
    user, client = issuer.session()["access_token"], with_key(issuer, "read").token()
    for token, names in ((user, (*returned, "sid")), (client, returned)):
        claims = claims_of(token)
        results = {name: claims[name] for name in names}
        assert introspect(resource, token) == results | {"active": True, "token_type": "Bearer"}


def test_rfc7662_2_2_introspection_does_not_use_up_a_refresh_token(issuer: IssuerProcess, resource: Machine) -> None:
    tokens = issuer.session()
    claims = claims_of(tokens["access_token"])
    results = introspect(resource, tokens["refresh_token"])
    assert results.pop("exp") > time.time() + 3600
    assert results == {"active": True} | {
        name: claims[name] for name in ("iss", "sub", "client_id", "scope", "aud", "sid")
    }
    assert issuer.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_rfc7662_2_1_a_wrong_hint_hides_nothing(issuer: IssuerProcess, resource: Machine, hint: str) -> None:
    tokens = issuer.session()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        assert introspect(resource, token, token_type_hint=hint)["active"] is True


def test_rfc7662_2_2_inactive_tokens_get_identical_responses(issuer: IssuerProcess, resource: Machine) -> None:
    ended, disabled, deleted = (issuer.session() for _ in range(3))
    revoke(issuer, ended["refresh_token"])
    for tokens, statement in (
        (disabled, "UPDATE users SET disabled_at = now() WHERE id = $1"),
        (deleted, "DELETE FROM users WHERE id = $1"),
    ):
        execute(issuer.database_url, statement, claims_of(tokens["access_token"])["sub"])
    machine = with_secret(issuer)
    token = machine.token()
    operate(issuer, lambda registry: registry.disable(machine.id))
    shown = [tokens[kind] for tokens in (ended, disabled, deleted) for kind in ("access_token", "refresh_token")]
    for inactive in [*shown, token, "x", "é", "a.b.c", token[:-8] + "AAAAAAAA", "x" * 9999]:
        assert is_inactive(resource, inactive)


def test_rfc7662_2_2_a_machines_revoked_token_is_not_active(issuer: IssuerProcess, resource: Machine) -> None:
    machine = with_secret(issuer)
    token = machine.token()
    assert introspect(resource, token)["active"] is True
    assert_revoked(machine.post("/revoke", token=token))
    assert is_inactive(resource, token)
    assert introspect(resource, machine.token())["active"] is True
    assert is_inactive(resource, token)


def test_rfc7662_4_a_stale_refresh_token_is_not_active(issuer: IssuerProcess, resource: Machine) -> None:
    first = issuer.session()["refresh_token"]
    second = issuer.refresh(first).json()["refresh_token"]
    issuer.refresh(second)
    assert is_inactive(resource, first)


def test_rfc7662_4_a_token_of_another_audience_is_not_active(issuer: IssuerProcess, resource: Machine) -> None:
    tokens = issuer.session()
    machine = with_secret(issuer, audiences=["elsewhere"])
    assert is_inactive(resource, machine.token())
    assert is_inactive(machine, tokens["access_token"])
    assert is_inactive(machine, tokens["refresh_token"])
    assert introspect(machine, machine.token())["aud"] == "elsewhere"


def test_rfc7662_2_1_introspection_requires_client_authentication(issuer: IssuerProcess, resource: Machine) -> None:
    form = {"token": issuer.session()["access_token"]}
    url = f"{issuer.url}/introspect"
    assert_invalid_client(HTTP.post(url, data=form))
    assert_invalid_client(HTTP.post(url, data=form | {"client_id": "first-party"}))
    assert_invalid_client(HTTP.post(url, data=form, headers={"Authorization": f"Bearer {form['token']}"}))
    assert_invalid_client(HTTP.post(url, data=form, auth=(resource.id, "gpc_wrong")))
    assert HTTP.get(url, params=form).status_code == 405


def test_rfc7662_2_2_an_expired_token_is_not_active(issuer: IssuerProcess, resource: Machine) -> None:
    claims, now = claims_of(issuer.session()["access_token"]), int(time.time())
    valid, expired = (signed(issuer, json.dumps(claims | {"exp": exp})) for exp in (now + 60, now))
    assert introspect(resource, valid)["active"] is True
    assert is_inactive(resource, expired)


def test_rfc8725_3_11_a_status_list_is_no_access_token(resource: Machine) -> None:
    uri = claims_of(resource.token())["status"]["status_list"]["uri"]
    assert is_inactive(resource, HTTP.get(uri).text)


def test_rfc8725_2_6_a_token_with_a_repeated_member_is_rejected_everywhere(
    issuer: IssuerProcess, resource: Machine
) -> None:
    tokens = issuer.session()
    claims = json.dumps(claims_of(tokens["access_token"]))
    for twice in ('"aud":"gatepass"', '"sub":"00000000-0000-4000-8000-000000000000"', '"x":{"a":1,"a":1}'):
        token = signed(issuer, f"{claims[:-1]},{twice}}}")
        for method, path in (("GET", "/me"), ("GET", "/sessions"), ("DELETE", "/sessions"), ("POST", "/logout")):
            response = issuer.request(method, path, token)
            assert response.status_code == 401, (method, path)
            assert "invalid_token" in response.headers["www-authenticate"]
        assert is_inactive(resource, token)
        assert revoke(issuer, token).status_code == 200
    assert issuer.request("GET", "/me", tokens["access_token"]).status_code == 200
