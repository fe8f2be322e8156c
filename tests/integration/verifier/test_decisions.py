"""Contract B over the wire: policy, response and headers."""

from time import time

import pytest

from tests.support.raw_http import IDENTITY, bearer, request
from tests.support.token_forge import ISSUER, Forge, accepting
from tests.support.verifier_process import SubrequestListener, VerifierFolder


def test_a_good_token_gets_the_complete_identity(verifier: SubrequestListener) -> None:
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


def test_the_largest_identity_stays_under_three_kib(verifier: SubrequestListener) -> None:
    token = verifier.token(
        sub="s" * 255, client_id="c" * 255, jti="j" * 255, sid="i" * 255, scope="x" * 800, roles=["y" * 799]
    )
    response = verifier.ask(token=token)
    assert response.status == 200
    assert sum(len(name) + len(value) + 4 for name, value in response.fields) < 3072


def test_a_request_without_credentials_is_challenged_without_an_error(verifier: SubrequestListener) -> None:
    response = verifier.ask()
    assert (response.status, response.challenge, response.identity) == (401, 'Bearer realm="gatepass"', {})


@pytest.mark.parametrize("credentials", [
    "Basic dXNlcjpwYXNz", "Digest x", "DPoP x", "", "Bearer", "Negotiate", "bearerx y", "Bearer\tx",
])  # fmt: skip
def test_another_scheme_is_not_a_bearer_token(verifier: SubrequestListener, credentials: str) -> None:
    response = verifier.ask("/verify", f"Authorization: {credentials}")
    assert response.status == 401
    assert response.challenge in ('Bearer realm="gatepass"', 'Bearer realm="gatepass", error="invalid_request"')


@pytest.mark.parametrize("credentials", [
    "Bearer  {}", "Bearer {} {}", "Bearer {}, {}", "Bearer {}, Bearer {}", "Bearer \t{}", "Bearer {}\t{}",
])  # fmt: skip
def test_more_than_one_word_is_an_invalid_request(verifier: SubrequestListener, credentials: str) -> None:
    token = verifier.token().decode()
    response = verifier.ask("/verify", "Authorization: " + credentials.format(token, token))
    assert (response.status, response.challenge) == (401, 'Bearer realm="gatepass", error="invalid_request"')


@pytest.mark.parametrize("form", ["{};x=y", '"{}"', "{}\xe9", "{},{}", "<{}>", "{}%20", "Bearer,{}", "token={}"])
def test_a_malformed_token_is_rejected_with_an_error(verifier: SubrequestListener, form: str) -> None:
    token = verifier.token().decode()
    response = verifier.ask("/verify", "Authorization: Bearer " + form.format(token, token))
    assert response.status == 401
    assert response.challenge is not None
    assert 'error="invalid_' in response.challenge


@pytest.mark.parametrize("first", ["Authorization: Bearer x", "Authorization: Basic x", "Authorization:", None])
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_two_credentials_are_rejected_even_if_they_are_equal(
    verifier: SubrequestListener, first: str | None, name: str
) -> None:
    good = bearer(verifier.token())
    first = first or good
    for lines in ([first, good.replace("Authorization", name)], [good, first.replace("Authorization", name)]):
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


@pytest.mark.parametrize(("changes", "header"), [
    ({"exp": 1_000_000_000, "iat": 999_999_000}, {}),
    ({"nbf": 4_000_000_000}, {}),
    ({"iss": "https://somebody.example"}, {}),
    ({"aud": "another"}, {}),
    ({"sub": ...}, {}),
    ({"sub": "a\r\nX-Auth-Roles: admin"}, {}),
    ({"cnf": {"jkt": "x"}}, {}),
    ({}, {"typ": "JWT"}),
    ({}, {"alg": "none"}),
    ({}, {"alg": "HS256"}),
    ({}, {"kid": "unknown"}),
    ({}, {"crit": ["exp"]}),
])  # fmt: skip
def test_a_bad_token_gets_only_the_error_code_of_rfc_6750(
    verifier: SubrequestListener, changes: dict[str, object], header: dict[str, object]
) -> None:
    response = verifier.ask(token=verifier.forge.token(time(), header, **changes))
    assert response.fields == (
        ("content-length", "0"),
        ("www-authenticate", 'Bearer realm="gatepass", error="invalid_token"'),
    )
    assert response.status == 401


def test_a_changed_token_or_one_of_another_key_is_rejected(verifier: SubrequestListener) -> None:
    good = verifier.token()
    other = Forge.another()
    stolen_name = other.sign(f'{{"alg":"RS256","kid":"{verifier.forge.kid}","typ":"at+jwt"}}'.encode(), b"{}")
    for token in (other.token(time()), stolen_name, good[:-2], good + b"=", good.replace(b".", b"..", 1)):
        assert verifier.ask(token=token).status == 401


@pytest.mark.parametrize(("policy", "claims", "status"), [
    ("admin", {}, 403),
    ("admin", {"scope": "profile administrator"}, 403),
    ("admin", {"scope": "profile admin"}, 200),
    ("reader", {"scope": "profile"}, 403),
    ("reader", {"scope": "write profile"}, 200),
    ("operator", {}, 403),
    ("operator", {"roles": ["operators"]}, 403),
    ("operator", {"roles": ["guest", "owner"]}, 200),
])  # fmt: skip
def test_a_policy_requires_its_scopes_and_roles(
    verifier: SubrequestListener, policy: str, claims: dict[str, object], status: int
) -> None:
    assert verifier.ask(f"/verify/{policy}", token=verifier.token(**claims)).status == status


def test_a_missing_scope_is_named(verifier: SubrequestListener) -> None:
    response = verifier.ask("/verify/reader", token=verifier.token())
    assert response.challenge == 'Bearer realm="gatepass", error="insufficient_scope", scope="read write"'


def test_an_anonymous_policy_passes_without_identity_but_rejects_a_bad_token(verifier: SubrequestListener) -> None:
    response = verifier.ask("/verify/open")
    assert (response.status, response.identity) == (200, dict.fromkeys(IDENTITY, ""))
    assert verifier.ask("/verify/open", token=verifier.token()).identity["x-auth-subject"]
    assert verifier.ask("/verify/open", token=verifier.token(exp=1_000_000_000, iat=999_999_999)).status == 401
    assert verifier.ask("/verify/open", "Authorization: Bearer").status == 401
    assert verifier.ask("/verify/open", "Authorization: Bearer ").status == 401


@pytest.mark.parametrize("policy", ["nowhere", "Admin", "ADMIN", "adm", "admin2", "", "defaultx", "-", "None"])
def test_an_unknown_policy_is_forbidden(verifier: SubrequestListener, policy: str) -> None:
    response = verifier.ask(f"/verify/{policy}", token=verifier.token(scope="admin"))
    assert (response.status, response.fields) == (403, (("content-length", "0"),))


@pytest.mark.parametrize("rest", [
    "", "/", "/x", "/open", "/../open", "/../../verify/open", "//open", "/%2e%2e/open", "/..%2fopen", "?policy=open",
    "?/open", "/?x=/verify/open", "/x?y#z", "/;open", "/\\open", "/%e9", "/%00", "/" + "x/" * 500,
])  # fmt: skip
def test_a_suffix_of_the_path_does_not_change_the_policy(verifier: SubrequestListener, rest: str) -> None:
    for target, status in (("/verify/admin", 403), ("/verify/default", 200)):
        assert verifier.ask(target + rest, token=verifier.token()).status == status
        assert verifier.ask(target + rest).status == 401


@pytest.mark.parametrize("target", [
    "/", "/verify/%61dmin", "/verify/../verify/open", "/verify/./open", "/verify//open", "/Verify", "/verify;x",
    "/verifyx",
    "/verify%2fopen", "/verify\\open", "/x/verify/open", "//verify/open", "/verify/open;x", "/verify/open%00",
    "/metrics",
    "/healthz", "/readyz", "/verify/open%3f", "/verify/OPEN", "/%76erify/open",
])  # fmt: skip
def test_another_spelling_of_a_target_is_an_unknown_policy(verifier: SubrequestListener, target: str) -> None:
    assert verifier.ask(target).status == 403
    assert verifier.ask(target, token=verifier.token()).status == 403


def test_a_non_ascii_target_is_rejected(verifier: SubrequestListener) -> None:
    # RFC 3986 §2: a URI is written in ASCII.
    assert verifier.ask("/verify/open\xe9").status == 400
    assert verifier.ask("/verify/open/\xe9").status == 400


def test_a_decision_is_never_used_for_another_policy(verifier: SubrequestListener) -> None:
    token = verifier.token(scope="admin")
    for _ in range(3):
        statuses = [
            verifier.ask(f"/verify/{policy}", token=token).status for policy in ("admin", "reader", "default")
        ]
        assert statuses == [200, 403, 200]


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


def test_issuers_with_the_same_kid_have_separate_keys(folder: VerifierFolder) -> None:
    ours, theirs = folder.forge, Forge("https://another.example")
    same_kid = theirs.jwks.replace(theirs.kid.encode(), ours.kid.encode())
    (folder.path / "theirs.json").write_bytes(same_kid)
    policies = f"""
        [issuers."{theirs.issuer}"]
        jwks_file = "{folder.path / "theirs.json"}"
        [policies.ours]
        issuers = ["{ours.issuer}"]
        [policies.theirs]
        issuers = ["{theirs.issuer}"]
        {accepting(ours.issuer, theirs.issuer)}
    """
    with folder.running(policies=policies) as verifier:
        header = {"kid": ours.kid}

        def statuses(token: bytes) -> list[int]:
            return [verifier.ask(f"/verify/{policy}", token=token).status for policy in ("default", "ours", "theirs")]

        for _ in range(2):
            assert statuses(ours.token(time(), header)) == [200, 200, 401]
            assert statuses(theirs.token(time(), header)) == [200, 401, 200]
            assert statuses(ours.token(time(), header, iss=theirs.issuer)) == [401, 401, 401]
            assert statuses(theirs.token(time(), header, iss=ours.issuer)) == [401, 401, 401]
