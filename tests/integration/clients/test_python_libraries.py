"""Python's OAuth clients and JWT libraries, used as documented, with a real issuer."""

import base64
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jwt
import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749 import errors as oauthlib_errors
from requests_oauthlib import OAuth2Session as RequestsOAuth2Session

from tests.support.issuer_process import IssuerProcess
from tests.support.machines import KEY, Machine, with_key, with_secret
from tests.support.plain_http import HTTP
from tests.support.processes import wait_until

AUDIENCE: Final = "https://orders.example"
FIRST_PARTY: Final = "first-party"
PRIVATE_KEY: Final = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(autouse=True, scope="module")
def _without_tls() -> Iterator[None]:
    """Let both libraries use a loopback server without TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        patch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
        yield


@pytest.fixture(scope="module")
def metadata(issuer: IssuerProcess) -> Mapping[str, Any]:
    """Return the metadata from the URL that Authlib uses."""
    url = get_well_known_url(issuer.url, external=True, suffix="oauth-authorization-server")
    found: Mapping[str, Any] = HTTP.get(url).raise_for_status().json()
    return found


@pytest.fixture(scope="module")
def machine(issuer: IssuerProcess) -> Machine:
    return with_secret(issuer, None, "orders:read orders:write", [AUDIENCE, "files"])


@pytest.fixture(scope="module")
def access_token(machine: Machine) -> str:
    return machine.token()


def authlib_of(machine: Machine, metadata: Mapping[str, Any], **options: Any) -> OAuth2Session:
    """Return Authlib's client, for a machine with a secret."""
    return OAuth2Session(machine.id, machine.secret, token_endpoint=metadata["token_endpoint"], **options)


def authlib_user(tokens: Mapping[str, Any], metadata: Mapping[str, Any], **options: Any) -> OAuth2Session:
    """Return Authlib's client, for a user who has logged in."""
    return OAuth2Session(
        FIRST_PARTY,
        token=tokens,
        token_endpoint_auth_method="none",
        revocation_endpoint_auth_method="none",
        token_endpoint=metadata["token_endpoint"],
        **options,
    )


def oauthlib_of(machine: Machine) -> RequestsOAuth2Session:
    """Return the client of oauthlib and requests, for a machine with a secret."""
    return RequestsOAuth2Session(client=BackendApplicationClient(client_id=machine.id))


# Metadata (RFC 8414).


def test_authlib_finds_only_one_fault_in_the_metadata(issuer: IssuerProcess, metadata: Mapping[str, Any]) -> None:
    """Authlib rejects an empty `response_types_supported`, although there is no authorization endpoint."""
    read = AuthorizationServerMetadata(metadata)
    with pytest.raises(ValueError, match="response_types_supported"):
        read.validate()
    AuthorizationServerMetadata({**metadata, "response_types_supported": ["none"]}).validate()
    assert read.issuer == issuer.url


# Machines: the client credentials grant.


def test_authlib_gets_a_token_with_a_secret(machine: Machine, metadata: Mapping[str, Any]) -> None:
    with authlib_of(machine, metadata) as session:
        tokens = session.fetch_token(grant_type="client_credentials", scope="orders:read", resource="files")
        assert (tokens["token_type"], tokens["scope"]) == ("Bearer", "orders:read")
        assert not tokens.is_expired()
        found = session.introspect_token(metadata["introspection_endpoint"], tokens["access_token"]).json()
    assert (found["active"], found["client_id"], found["aud"]) == (True, machine.id, "files")


@pytest.mark.parametrize("audience", ["token_endpoint", "issuer"])
def test_authlib_gets_a_token_with_a_private_key(
    issuer: IssuerProcess, metadata: Mapping[str, Any], audience: str
) -> None:
    machine = with_key(issuer, "read")
    method = PrivateKeyJWT(metadata[audience], headers={"kid": "k1"})
    endpoint = metadata["token_endpoint"]
    with OAuth2Session(machine.id, PRIVATE_KEY, "private_key_jwt", token_endpoint=endpoint) as session:
        session.register_client_auth_method(method)
        assert session.fetch_token(grant_type="client_credentials")["scope"] == "read"


def test_authlib_replaces_an_expired_token_of_a_machine_itself(
    issuer: IssuerProcess, machine: Machine, metadata: Mapping[str, Any]
) -> None:
    with authlib_of(machine, metadata, grant_type="client_credentials") as session:
        first = dict(session.fetch_token())
        session.token = {**first, "expires_at": 1}
        session.get(f"{issuer.url}/me")
        assert session.token["access_token"] != first["access_token"]


def test_oauthlib_gets_a_token_with_a_secret(machine: Machine, metadata: Mapping[str, Any]) -> None:
    with oauthlib_of(machine) as session:
        tokens = session.fetch_token(
            metadata["token_endpoint"], client_id=machine.id, client_secret=machine.secret, resource="files"
        )
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == ["orders:read", "orders:write"]
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["aud"] == "files"  # noqa: TID251 - looks inside


@pytest.mark.parametrize(
    ("wrong", "code"),
    [({"scope": "admin"}, "invalid_scope"), ({"resource": "elsewhere"}, "invalid_target")],
)
def test_authlib_raises_the_error_code(
    machine: Machine, metadata: Mapping[str, Any], wrong: dict[str, str], code: str
) -> None:
    with authlib_of(machine, metadata) as session, pytest.raises(OAuthError) as raised:
        session.fetch_token(grant_type="client_credentials", **wrong)
    assert raised.value.error == code


def test_both_raise_invalid_client_for_a_wrong_secret(
    issuer: IssuerProcess, machine: Machine, metadata: Mapping[str, Any]
) -> None:
    attacker = Machine(issuer, machine.id, "wrong")
    with authlib_of(attacker, metadata) as authlib, pytest.raises(OAuthError, match="invalid_client"):
        authlib.fetch_token(grant_type="client_credentials")
    with oauthlib_of(attacker) as oauthlib, pytest.raises(oauthlib_errors.InvalidClientError):
        oauthlib.fetch_token(metadata["token_endpoint"], client_id=attacker.id, client_secret=attacker.secret)


def test_oauthlib_raises_an_exception_of_the_error_code(machine: Machine, metadata: Mapping[str, Any]) -> None:
    with oauthlib_of(machine) as session, pytest.raises(oauthlib_errors.InvalidScopeError):
        session.fetch_token(
            metadata["token_endpoint"], client_id=machine.id, client_secret=machine.secret, scope="admin"
        )


# Users: the refresh token grant, with rotation.


def test_authlib_refreshes_an_expired_token_itself(issuer: IssuerProcess, metadata: Mapping[str, Any]) -> None:
    login = issuer.session()
    stored: list[Mapping[str, Any]] = []
    expired = {**login, "expires_at": 1}

    def store(tokens: Mapping[str, Any], **_: Any) -> None:
        stored.append(dict(tokens))

    with authlib_user(expired, metadata, update_token=store) as session:
        assert session.get(f"{issuer.url}/me").status_code == 200
        assert session.get(f"{issuer.url}/me").status_code == 200
    (successor,) = stored
    assert successor["refresh_token"] != login["refresh_token"]
    assert successor["scope"] == login["scope"]


def test_authlib_learns_that_a_session_is_over(issuer: IssuerProcess, metadata: Mapping[str, Any]) -> None:
    with authlib_user(issuer.session(), metadata) as session:
        refresh_token = session.token["refresh_token"]
        assert session.revoke_token(metadata["revocation_endpoint"], refresh_token).status_code == 200
        with pytest.raises(OAuthError) as raised:
            session.refresh_token(refresh_token=refresh_token)
    assert raised.value.error == "invalid_grant"


def test_oauthlib_refreshes_an_expired_token_itself(issuer: IssuerProcess, metadata: Mapping[str, Any]) -> None:
    login = issuer.session()
    stored: list[Mapping[str, Any]] = []
    with RequestsOAuth2Session(
        FIRST_PARTY,
        token={**login, "expires_in": -1},
        auto_refresh_url=metadata["token_endpoint"],
        auto_refresh_kwargs={"client_id": FIRST_PARTY},
        token_updater=stored.append,
    ) as session:
        assert session.get(f"{issuer.url}/me").status_code == 200
    (successor,) = stored
    assert successor["refresh_token"] != login["refresh_token"]


def test_oauthlib_learns_that_a_session_is_over(issuer: IssuerProcess, metadata: Mapping[str, Any]) -> None:
    login = issuer.session()
    assert issuer.request("POST", "/logout", login["access_token"]).status_code == 204
    with (
        RequestsOAuth2Session(FIRST_PARTY, token=login) as session,
        pytest.raises(oauthlib_errors.InvalidGrantError),
    ):
        session.refresh_token(metadata["token_endpoint"], client_id=FIRST_PARTY)


# Services: access tokens are verified with the published keys.


def test_pyjwt_verifies_an_access_token(
    issuer: IssuerProcess, metadata: Mapping[str, Any], access_token: str, machine: Machine
) -> None:
    keys = jwt.PyJWKClient(metadata["jwks_uri"])
    claims = jwt.decode(  # noqa: TID251 - this is the library that the test is about
        access_token,
        keys.get_signing_key_from_jwt(access_token),
        algorithms=["RS256"],
        audience=AUDIENCE,
        issuer=issuer.url,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
    )
    assert (claims["sub"], claims["scope"]) == (machine.id, "orders:read orders:write")


def test_joserfc_verifies_an_access_token(
    issuer: IssuerProcess, metadata: Mapping[str, Any], access_token: str
) -> None:
    token = jose_jwt.decode(access_token, key_set(metadata), algorithms=["RS256"])
    assert token.header["typ"] == "at+jwt"
    jose_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer.url},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
        sub={"essential": True},
    ).validate(token.claims)


def test_joserfc_finds_a_session_in_the_status_list_after_the_logout(
    issuer: IssuerProcess, metadata: Mapping[str, Any]
) -> None:
    login = issuer.session()
    status = jose_jwt.decode(login["access_token"], key_set(metadata)).claims["status"]["status_list"]
    assert is_revoked(status, metadata) is False
    assert issuer.request("POST", "/logout", login["access_token"]).status_code == 204
    wait_until(lambda: is_revoked(status, metadata), "the status list has the session")


def key_set(metadata: Mapping[str, Any]) -> jose_jwk.KeySet:
    return jose_jwk.KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=30).json())


def is_revoked(status: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Read one bit of a status list by Token Status List §4, without our code."""
    token = jose_jwt.decode(requests.get(status["uri"], timeout=30).text, key_set(metadata))
    assert (token.header["typ"], token.claims["sub"]) == ("statuslist+jwt", status["uri"])
    content = token.claims["status_list"]
    assert content["bits"] == 1
    padded = content["lst"] + "=" * (-len(content["lst"]) % 4)
    bits = zlib.decompress(base64.urlsafe_b64decode(padded))
    return bool(bits[status["idx"] // 8] >> (status["idx"] % 8) & 1)
