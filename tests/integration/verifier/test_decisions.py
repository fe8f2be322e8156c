"""Contract B over the wire: what HTTP adds to the vectors of `tests/vectors`."""

from time import time

import pytest

from tests.support.raw_http import IDENTITY, bearer, request
from tests.support.token_forge import ISSUER
from tests.support.verifier_process import SubrequestListener, VerifierFolder


def test_an_accepted_token_gets_the_complete_identity(verifier: SubrequestListener) -> None:
    now = int(time())
    response = verifier.ask(token=verifier.token(roles=["operator", "auditor"], scope="profile read", exp=now + 300))
    assert response.status == 200
    assert response.identity == {
        "x-auth-issuer": ISSUER,
        "x-auth-subject": "7b7f6f3e-3a51-4f0e-9d0c-3f1f6c1c2a10",
        "x-auth-client": "gatepass",
        "x-auth-scope": "profile read",
        "x-auth-roles": "operator,auditor",
        "x-auth-session": "51d0a7f6-0000-4000-8000-000000000001",
        "x-auth-token": "b0a5a2a4-7a52-4f0f-8f6c-111111111111",
        "x-auth-expires": str(now + 300),
    }
    assert response.challenge is None


def test_an_absent_claim_is_an_empty_header_and_not_a_missing_one(verifier: SubrequestListener) -> None:
    response = verifier.ask(token=verifier.token(scope=..., sid=..., auth_time=...))
    assert tuple(response.identity) == IDENTITY
    assert [name for name, value in response.identity.items() if not value] == [
        "x-auth-scope",
        "x-auth-roles",
        "x-auth-session",
    ]


def test_a_request_without_credentials_is_challenged_without_an_error(verifier: SubrequestListener) -> None:
    response = verifier.ask()
    assert (response.status, response.challenge, response.identity) == (401, 'Bearer realm="gatepass"', {})


@pytest.mark.parametrize("first", ["Authorization: Bearer x", "Authorization: Basic x", "Authorization:", None])
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_two_credentials_are_rejected_even_if_they_are_equal(
    verifier: SubrequestListener, first: str | None, name: str
) -> None:
    valid = bearer(verifier.token())
    first = first or valid
    for lines in ([first, valid.replace("Authorization", name)], [valid, first.replace("Authorization", name)]):
        response = verifier.ask("/verify", *lines)
        assert response.status == 401
        assert response.challenge in ('Bearer realm="gatepass", error="invalid_request"', 'Bearer realm="gatepass"')


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_scheme_and_field_name_are_case_insensitive(verifier: SubrequestListener, scheme: str) -> None:
    for name in ("Authorization", "authorization", "AUTHORIZATION"):
        assert verifier.ask("/verify", f"{name}: {scheme} {verifier.token().decode()}").status == 200


@pytest.mark.parametrize("line", [
    "Authorization_: {}", "Authorizatio_n: {}", "X_Auth_Subject: admin", "X-Auth-Subject: admin",
    "HTTP_AUTHORIZATION: {}",
    "X-Forwarded-Authorization: {}", "Proxy-Authorization: {}", "Cookie: access_token={}",
    "X-Original-URL: /verify/open",
    "X-Forwarded-Uri: /verify/open", "X-Original-Method: OPTIONS", "X-Policy: open", "Forwarded: for=_hidden",
])  # fmt: skip
def test_other_headers_are_ignored(verifier: SubrequestListener, line: str) -> None:
    line = line.format(f"Bearer {verifier.token().decode()}")
    assert verifier.ask("/verify", line).status == 401
    response = verifier.ask("/verify", line, token=verifier.token())
    assert response["x-auth-subject"] == "7b7f6f3e-3a51-4f0e-9d0c-3f1f6c1c2a10"


def test_rfc6750_2_3_a_token_in_the_query_is_ignored(verifier: SubrequestListener) -> None:
    response = verifier.ask(f"/verify?access_token={verifier.token().decode()}")
    assert (response.status, response.challenge) == (401, 'Bearer realm="gatepass"')


def test_an_invalid_token_gets_only_the_error_code_of_rfc_6750(verifier: SubrequestListener) -> None:
    response = verifier.ask(token=verifier.token(exp=1_000_000_000, iat=999_999_000))
    assert response.status == 401
    assert response.fields == (
        ("content-length", "0"),
        ("www-authenticate", 'Bearer realm="gatepass", error="invalid_token"'),
    )


def test_a_non_ascii_target_is_rejected(verifier: SubrequestListener) -> None:
    # RFC 3986 §2: a URI is written in ASCII.
    assert verifier.ask("/verify/open\xe9").status == 400
    assert verifier.ask("/verify/open/\xe9").status == 400


def test_a_token_expires_to_the_second_also_from_the_cache(folder: VerifierFolder) -> None:
    with folder.running(LEEWAY_SECONDS=0) as verifier, verifier.connect() as wire:
        expires_at = int(time()) + 2
        token = verifier.token(exp=expires_at)
        status = 0
        while (asked_at := time()) < expires_at + 0.5:
            status = wire.ask(request("/verify", bearer(token))).status
            # A request may be under way at that moment.
            assert status == 200 or time() >= expires_at
            assert status == 401 or asked_at < expires_at
        assert status == 401
        assert verifier.metric("cache_hits_total") > 1


def test_without_keys_every_request_is_a_503(folder: VerifierFolder) -> None:
    with folder.running(JWKS_FILE=folder.path / "absent.json", ready=503) as verifier:
        response = verifier.ask(token=verifier.token())
        assert (response.status, response["retry-after"], response.identity) == (503, "1", {})
        assert verifier.ask().status == 401
        assert verifier.ask("/verify/nowhere").status == 403
        assert verifier.readiness() == 503
        assert folder.forge.issuer in verifier.admin("/readyz").text
