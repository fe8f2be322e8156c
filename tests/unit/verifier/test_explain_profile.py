"""`explain` shows how a profile reads a token, claim by claim, and never a value of it."""

import json
from typing import Any

import pytest

from shared.jwks import parse_jwks
from tests.support.providers import cases, load, parts, signing_key
from tests.support.vector_keys import GOOD, NOW
from tests.support.vectors import KEY_SETS, POLICIES
from verifier.decision.keyset import TrustedKeys
from verifier.explain_profile import describe, explain_profile
from verifier.policy_file import parse_configuration
from verifier.profile_file import BUILT_IN, built_in

Json = dict[str, Any]


def explained(provider: Json, case: Json, policy: str = "") -> list[str]:
    key, profile = signing_key(provider["algorithms"][0]), built_in(provider["profile"])
    keys = parse_jwks(json.dumps({"keys": [key.jwk()]}).encode(), profile.algorithms)
    document = f"[issuers.'{provider['issuer']}']\njwks_url = 'https://unused.example'\nprofile = '{profile.name}'\n"
    document += f"[policies.default]\naudience = '{provider['audience']}'\n{policy}"
    rules = parse_configuration(document, issuers={}, audience="", leeway_seconds=5)
    token = key.sign(*parts(provider, case))
    return explain_profile(
        token, keys=TrustedKeys.from_issuers({provider["issuer"]: keys}), policy=rules.policies["default"]
    )


KEYCLOAK = load("keycloak")
USER = KEYCLOAK["accepted"][0]


def changed(header: Json | None = None, without: list[str] | None = None, **claims: Any) -> Json:
    return {"id": "x", "like": "user", "header": header or {}, "claims": claims, "without": without or []}


def test_an_accepted_token_is_read_claim_by_claim() -> None:
    assert explained(KEYCLOAK, USER) == [
        "profile keycloak of issuer https://id.example/realms/main:",
        "  typ is jwt; profile keycloak accepts it",
        "  alg is RS256; profile keycloak accepts it",
        "  mark of an access token: claim /typ equals 'Bearer': holds",
        "  claim /sub → subject",
        "  claim /aud → audience",
        "  claim /azp → client",
        "  claim /scope → scopes",
        "  claim /realm_access/roles → roles",
        "  claim /sid → session",
        "  claim /jti → token id",
    ]


@pytest.mark.parametrize(
    ("case", "line"),
    [
        (changed(typ="ID"), "  mark of an access token: claim /typ equals 'Bearer': does not hold"),
        (changed({"typ": "logout+jwt"}), "  typ is logout+jwt; profile keycloak accepts at+jwt, jwt"),
        (changed({"typ": "x" * 40}), "  typ is unusual; profile keycloak accepts at+jwt, jwt"),
        (changed({"alg": "HS256"}), "  alg is HS256; profile keycloak accepts ES256, ES384, EdDSA, PS256, RS256"),
        (changed({"alg": "ES256"}), "  kid names a key for RS256"),
        (changed({"kid": "other"}), "  kid names no key in the key set of this issuer"),
        (changed(without=["azp"]), "  claim /azp is missing; profile keycloak requires it"),
        (changed(without=["sid"]), "  claim /sid or /session_state is missing: no session"),
        (changed(without=["sub"]), "  claim /sub is missing: no subject; it is required"),
        (changed(aud="account"), "  claim /aud has none of the audiences of policy default: api"),
        (changed(azp="a b"), "  claim /azp is no client: accepted are 1 to 255 visible ASCII characters"),
        (changed(realm_access={"roles": ["a b"]}), "  claim /realm_access/roles is no roles: accepted are a list of"),
        (changed(scope=["a b"]), "  claim /scope is no scopes: accepted are scopes separated by single spaces"),
        (
            changed(iss="https://id.example/realms/main/"),
            "claim /iss is none of the issuers of policy default: ",
        ),
    ],
)
def test_each_error_has_its_line(case: Json, line: str) -> None:
    assert any(it.startswith(line) for it in explained(KEYCLOAK, case)), explained(KEYCLOAK, case)


def test_a_wrong_claim_does_not_affect_the_explanation_of_others() -> None:
    lines = explained(KEYCLOAK, changed(scope=["a b"], azp="a b"))
    assert [line for line in lines if "→" in line] == [
        "  claim /sub → subject",
        "  claim /aud → audience",
        "  claim /realm_access/roles → roles",
        "  claim /sid → session",
        "  claim /jti → token id",
    ]


def test_rules_and_headers_of_the_policy_are_explained() -> None:
    policy = (
        "claims = [{ at = '/acr', equals = '1' }, { at = '/tenant', one_of = ['a', 'b'] }]\n"
        "headers = { X-Auth-Claim-Acr = '/acr', X-Auth-Claim-Email = { at = '/email', type = 'list' },"
        " X-Auth-Claim-Tenant = '/tenant', X-Auth-Claim-Name = { at = '/name', type = 'integer' } }"
    )
    assert explained(KEYCLOAK, USER, policy)[-6:] == [
        "policy default: claim /acr equals '1': holds",
        "policy default: claim /tenant one of 'a' or 'b': does not hold",
        "header X-Auth-Claim-Acr: claim /acr",
        "header X-Auth-Claim-Email: claim /email",
        "header X-Auth-Claim-Name: claim /name is no integer, or cannot be a header value",
        "header X-Auth-Claim-Tenant: empty, claim /tenant is missing",
    ]


def test_nothing_is_explained_of_a_token_of_our_own_or_of_none() -> None:
    for token in (GOOD.token(NOW), b"", b"a.b.c", b"\xff" * 100, b"x" * 10_000):
        assert explain_profile(token, keys=KEY_SETS["issuer"], policy=POLICIES["default"]) == []


def test_no_value_of_a_token_is_shown() -> None:
    for provider, case in cases():
        _, claims = parts(provider, case)
        text = "\n".join(explained(provider, case)).replace(provider["issuer"], "").replace(provider["audience"], "")
        values = [
            claims.get(name) for name in ("sub", "jti", "azp", "client_id", "cid", "sid", "session_id", "email")
        ]
        shown_values = [it for it in values if isinstance(it, str) and len(it) > 6 and it in text]
        assert shown_values == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_profile_is_described(name: str) -> None:
    lines = list(describe(built_in(name)))
    assert lines[0].startswith("accepts ")
    assert ("ID tokens" in lines[0]) == (name in ("google", "firebase", "github-actions"))
    assert len(lines) == 2 + len(built_in(name).mark)
