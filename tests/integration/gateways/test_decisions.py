"""Requests that pass a real gateway, and the responses to those that are rejected."""

import http.client

import pytest

from shared.identity_headers import IDENTITY_HEADERS
from tests.integration.gateways.conftest import Gateway
from tests.support.gateway_programs import Difference
from tests.support.gateways import Response
from tests.support.token_forge import Forge

INVALID_TOKEN = 'Bearer realm="gatepass", error="invalid_token"'
INVALID_REQUEST = 'Bearer realm="gatepass", error="invalid_request"'
INSUFFICIENT_SCOPE = 'Bearer realm="gatepass", error="insufficient_scope", scope="admin"'


def test_a_valid_token_passes_with_its_identity(gateway: Gateway) -> None:
    response = gateway.ask("/hello", token=gateway.token(roles=["editor"]))
    assert response.status == 200
    assert response.application["path"] == "/hello"
    assert set(response.identity) == set(IDENTITY_HEADERS)
    assert response.identity["X-Auth-Issuer"] == gateway.forge.issuer
    assert response.identity["X-Auth-Subject"] == gateway.forge.claims(0)["sub"]
    assert response.identity["X-Auth-Roles"] == "editor"


def test_a_long_identity_arrives_complete(gateway: Gateway) -> None:
    scope = " ".join(f"scope-{number}" for number in range(90))
    response = gateway.ask("/", "Cookie: " + "a" * 6000, "Cookie: " + "b" * 6000, token=gateway.token(scope=scope))
    assert response.status == 200
    assert response.identity["X-Auth-Scope"] == scope


def test_each_request_of_a_connection_is_checked_separately(gateway: Gateway) -> None:
    tokens = [gateway.token(roles=[role]) for role in ("editor", "reader")]
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    for path, token, expected in [
        ("/", tokens[0], "editor"),
        ("/", tokens[1], "reader"),
        ("/admin/", tokens[0], 403),
        ("/", None, 401),
        ("/", gateway.token(), None),
        ("/", tokens[0], "editor"),
    ]:
        credentials = {"Authorization": f"Bearer {token.decode()}"} if token else {}
        connection.request("GET", path, headers={"Host": "app.example", **credentials})
        received = connection.getresponse()
        response = Response(received.status, received.headers, received.read())
        results = response.identity.get("X-Auth-Roles") if response.status == 200 else response.status
        assert results == expected
    connection.close()


def test_the_client_does_not_get_the_identity_headers(gateway: Gateway) -> None:
    for path in ("/", "/admin/"):
        response = gateway.ask(path, token=gateway.token())
        assert not [name for name in response.headers if name.lower().startswith("x-auth-")]


def test_a_missing_token_is_challenged(gateway: Gateway) -> None:
    response = gateway.ask()
    assert (response.status, response.challenge) == (401, 'Bearer realm="gatepass"')


def test_an_invalid_token_is_rejected(gateway: Gateway) -> None:
    header, _, signature = gateway.token().split(b".")
    unknown_key = Forge()
    for token in (
        b"not.a.token",
        b".".join([header, gateway.token(scope="admin").split(b".")[1], signature]),
        unknown_key.token(gateway.now, {"kid": gateway.forge.kid}),
        gateway.forge.token(gateway.now - 3600),
    ):
        response = gateway.ask(token=token)
        assert (response.status, response.challenge) == (401, INVALID_TOKEN)


@pytest.mark.parametrize("values", [("valid", "valid"), ("valid", "invalid"), ("invalid", "valid")])
def test_two_authorization_fields_are_rejected(gateway: Gateway, values: tuple[str, str]) -> None:
    written = {"valid": f"Bearer {gateway.token().decode()}", "invalid": "Bearer x"}
    response = gateway.ask("/", *(f"Authorization: {written[value]}" for value in values))
    if gateway.differs(Difference.REJECTS_TWO_CREDENTIALS_ITSELF):
        assert (response.status, response.challenge) == (400, None)
    else:
        assert (response.status, response.challenge) == (401, INVALID_REQUEST)


def test_two_tokens_in_one_field_are_rejected(gateway: Gateway) -> None:
    token = gateway.token().decode()
    response = gateway.ask("/", f"Authorization: Bearer {token}, Bearer {token}")
    assert (response.status, response.challenge) == (401, INVALID_REQUEST)


def test_a_token_without_the_required_scope_is_rejected(gateway: Gateway) -> None:
    for path in ("/admin", "/admin/", "/admin/users?all"):
        response = gateway.ask(path, token=gateway.token())
        assert (response.status, response.challenge) == (403, INSUFFICIENT_SCOPE)


def test_a_token_with_the_required_scope_passes(gateway: Gateway) -> None:
    for path in ("/admin", "/admin/", "/admin/users"):
        response = gateway.ask(path, token=gateway.token(scope="profile admin"))
        assert (response.status, response.application["path"]) == (200, path)


def test_an_invalid_token_is_401_although_the_policy_requires_a_scope(gateway: Gateway) -> None:
    assert gateway.ask("/admin/").challenge == 'Bearer realm="gatepass"'
    assert gateway.ask("/admin/", token=b"x").challenge == INVALID_TOKEN


@pytest.mark.parametrize(
    "path", ["/verify", "/verify/default", "/healthz", "/readyz", "/metrics", "/gatepass/default"]
)
def test_no_path_reaches_the_verifier_itself(gateway: Gateway, path: str) -> None:
    response = gateway.ask(path, token=gateway.token())
    assert response.status == 404 or response.application["path"] == path
    assert gateway.ask(path).status in {401, 404}
