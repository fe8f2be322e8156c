"""Tokens are decided by the profile of their own issuer, also if the policy accepts others."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from shared.claims import InvalidClaimsError
from shared.jwks import parse_jwks
from tests.support.providers import NOW, load, parts, signing_key
from tests.support.token_forge import Forge
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.profile import ABSENT, ClaimRule, Location, Pointer, Profile
from verifier.decision.status import CurrentStatusList, StatusLists
from verifier.decision.verification import Accepted, Rejected, verify
from verifier.profile_file import built_in

OWN: Final = Forge("https://own.example")
KEYCLOAK: Final = load("keycloak")
PROFILES: Final = {KEYCLOAK["issuer"]: built_in("keycloak")}
FOREIGN: Final = signing_key("ES256", "foreign")


def keys(**changes: Any) -> TrustedKeys:
    foreign = parse_jwks(json.dumps({"keys": [FOREIGN.jwk(**changes)]}).encode(), built_in("keycloak").algorithms)
    return TrustedKeys.from_issuers({OWN.issuer: parse_jwks(OWN.jwks), KEYCLOAK["issuer"]: foreign})


def policy(*issuers: str, **changes: Any) -> Policy:
    values = {"issuers": frozenset(issuers), "audiences": frozenset({"api"}), "profiles": PROFILES, **changes}
    return Policy("default", **values)


BOTH: Final = policy(OWN.issuer, KEYCLOAK["issuer"])


def outcome(
    token: bytes, decided_by: Policy = BOTH, key_set: TrustedKeys | None = None, lists: StatusLists | None = None
) -> str:
    decision = verify(token, keys=key_set or keys(), policy=decided_by, now=NOW, revocations=lists or StatusLists())
    return str(decision.reason) if isinstance(decision, Rejected) else "accepted"


def foreign(header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    head, body = parts(KEYCLOAK, KEYCLOAK["accepted"][0])
    return FOREIGN.sign({**head, **(header or {})}, {**body, **claims})


def own(header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    return OWN.token(NOW, header, **{"aud": "api", **claims})


def test_each_issuer_s_tokens_are_accepted_by_its_own_profile() -> None:
    assert outcome(own()) == outcome(foreign()) == "accepted"


def test_our_own_issuer_stays_as_strict_beside_another() -> None:
    """Token types and marks that another profile accepts are rejected in tokens of our issuer."""
    assert outcome(own({"typ": "JWT"})) == "wrong_type"
    assert outcome(own({"typ": "JWT"}, typ="Bearer", azp="web")) == "wrong_type"
    assert outcome(own(client_id=..., azp="web")) == "invalid_claims"
    assert outcome(own(scope=["a"])) == "invalid_claims"


def test_a_token_of_the_other_issuer_may_begin_later_or_be_revoked() -> None:
    assert outcome(foreign(nbf=NOW + 60)) == "not_yet_valid"
    token = foreign(status={"status_list": {"uri": "https://lists.example/1", "idx": 3}})
    bits = {"https://lists.example/1": CurrentStatusList(b"\x08", 1, NOW + 60)}
    assert outcome(token, lists=StatusLists().with_lists(KEYCLOAK["issuer"], bits)) == "revoked"
    assert outcome(token, lists=StatusLists().with_lists(OWN.issuer, bits)) == "accepted"


@pytest.mark.parametrize("claim", ["iss", "exp", "iat", "nbf", "auth_time", "status"])
def test_claims_that_all_issuers_have_in_common_must_have_their_type(claim: str) -> None:
    assert outcome(foreign({}, **{claim: ["now"]})) == "invalid_claims"


def test_an_id_token_of_the_other_issuer_is_rejected_beside_ours() -> None:
    assert outcome(foreign(typ="ID")) == "not_access_token"
    assert outcome(foreign({"typ": "at+jwt"}, typ="ID")) == "not_access_token"


def test_equal_subjects_of_two_issuers_are_two_identities() -> None:
    same = "1001"
    decisions = [
        verify(token, keys=keys(), policy=BOTH, now=NOW, revocations=StatusLists())
        for token in (own(sub=same), foreign(sub=same))
    ]
    identities = [(it.claims.issuer, it.claims.subject) for it in decisions if isinstance(it, Accepted)]
    assert identities == [(OWN.issuer, same), (KEYCLOAK["issuer"], same)]


def test_one_issuer_cannot_sign_tokens_of_the_other() -> None:
    assert outcome(foreign(iss=OWN.issuer)) == "wrong_issuer"
    assert outcome(own(iss=KEYCLOAK["issuer"])) == "wrong_issuer"
    assert outcome(foreign(), policy(OWN.issuer)) in ("unsupported_algorithm", "wrong_issuer")
    assert outcome(own(), policy(KEYCLOAK["issuer"])) == "wrong_issuer"


def test_an_algorithm_of_one_issuer_is_none_of_the_other() -> None:
    """Our issuer publishes an RSA key. Another issuer may use PS256, ours may not."""
    head = json.dumps(OWN.header(alg="PS256")).encode()
    assert outcome(OWN.sign(head, json.dumps(OWN.claims(NOW, aud="api")).encode())) == "unsupported_algorithm"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [("ES256", "accepted"), ("ES384", "unsupported_algorithm"), ("EdDSA", "unsupported_algorithm")]
    + [(name, "unsupported_algorithm") for name in ("RS256", "PS256", "none", "HS256", "ES256K", "es256", "ES512")],
)
def test_a_key_verifies_its_own_algorithm_alone(algorithm: str, expected: str) -> None:
    assert outcome(foreign({"alg": algorithm})) == expected


def test_an_algorithm_that_the_profile_does_not_list_is_rejected_though_there_is_a_key() -> None:
    narrow = Profile(name="narrow", algorithms=frozenset({"RS256"}), token_types=None)
    decided_by = policy(KEYCLOAK["issuer"], profiles={KEYCLOAK["issuer"]: narrow})
    assert outcome(foreign({"typ": "at+jwt"}), decided_by) == "unsupported_algorithm"


def test_a_key_for_an_algorithm_that_its_issuer_no_longer_uses_verifies_nothing() -> None:
    """After a reload the key is held until the next fetch, and another issuer of the policy may use the algorithm."""
    narrow = replace(built_in("keycloak"), algorithms=frozenset({"RS256"}))
    other = "https://other.example"
    profiles = {KEYCLOAK["issuer"]: narrow, other: built_in("keycloak")}
    decided_by = policy(KEYCLOAK["issuer"], other, profiles=profiles)
    assert outcome(foreign(), decided_by) == "unsupported_algorithm"


def test_an_issuer_without_keys_affects_only_its_own_tokens() -> None:
    only_ours = TrustedKeys.from_issuers({OWN.issuer: parse_jwks(OWN.jwks)})
    assert outcome(own(), key_set=only_ours) == "accepted"
    assert outcome(foreign(), key_set=only_ours) == "keys_unavailable"
    assert outcome(foreign(), policy(OWN.issuer), only_ours) == "unsupported_algorithm"
    # Also if another issuer has a key of that name.
    assert outcome(foreign({"kid": OWN.kid}), key_set=only_ours) == "keys_unavailable"
    assert outcome(foreign({"kid": OWN.kid, "alg": "RS256"}), key_set=only_ours) == "keys_unavailable"
    in_our_form = {"kid": OWN.kid, "alg": "RS256", "typ": "at+jwt"}
    assert outcome(foreign(in_our_form), policy(OWN.issuer), only_ours) == "bad_signature"


def test_one_kid_of_two_issuers_is_decided_by_the_key_that_verifies() -> None:
    key_set = keys(kid=OWN.kid)
    assert outcome(own(), key_set=key_set) == "accepted"
    assert outcome(FOREIGN.sign({"typ": "JWT", "kid": OWN.kid}, parts(KEYCLOAK, KEYCLOAK["accepted"][0])[1]),
                   key_set=key_set) == "accepted"  # fmt: skip


def test_issuers_that_share_a_key_each_have_their_own_profile() -> None:
    """The tenants of one provider are issuers with the same keys."""
    tenant = "https://tenant.example"
    key_set = TrustedKeys.from_issuers({OWN.issuer: parse_jwks(OWN.jwks), tenant: parse_jwks(OWN.jwks)})
    listing = Profile(name="listing", token_types=None, scopes=Location.of("/scp"))
    decided_by = policy(OWN.issuer, tenant, profiles={tenant: listing}, scopes_all=frozenset({"read"}))
    assert outcome(own(iss=tenant, scp=["read"]), decided_by, key_set) == "accepted"
    assert outcome(own(scp=["read"]), decided_by, key_set) == "insufficient_scope"
    assert outcome(own(scope="read"), decided_by, key_set) == "accepted"


def test_the_types_of_the_default_profile_are_the_policy_s_and_of_others_the_profile_s() -> None:
    lax = policy(OWN.issuer, KEYCLOAK["issuer"], token_types=frozenset({"jwt"}))
    assert outcome(own({"typ": "JWT"}), lax) == "accepted"
    assert outcome(own(), lax) == "wrong_type"
    assert outcome(foreign({"typ": "at+jwt"}), lax) == "accepted"


@pytest.mark.parametrize("groups", ["guests", ["guests"], ["staff", "guests"]])
def test_a_value_that_is_excluded_is_excluded_from_lists_too(groups: Any) -> None:
    no_guests = ClaimRule(Location.of("/groups"), "none_of", ("guests", "partners"))
    assert outcome(foreign(groups=groups), replace(BOTH, claims=(no_guests,))) == "insufficient_claim"
    assert outcome(foreign(groups=["staff"]), replace(BOTH, claims=(no_guests,))) == "accepted"
    assert outcome(foreign(), replace(BOTH, claims=(no_guests,))) == "accepted"


DOCUMENT: Final = {"a/b": {"~": 1, "~1": 2}, "list": ["first", ["second"]], "text": "word", "none": None, "0": "zero"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/a~1b/~0", 1),
        ("/a~1b/~01", 2),
        ("/list/0", "first"),
        ("/list/1/0", "second"),
        ("/none", None),
        ("/0", "zero"),
        *((text, ABSENT) for text in ("/list/2", "/list/00", "/list/-", "/list/x", "/text/0", "/a~1b/0", "/none/0")),
    ],
)
def test_a_pointer_leads_to_one_place(text: str, value: Any) -> None:
    assert Pointer(text).find(DOCUMENT) == value


@pytest.mark.parametrize("changes", [{}, {"required": (Pointer("/jti"),)}, {"session": Location.of("/session")}])
def test_only_the_form_of_our_own_tokens_is_read_by_its_own_types(changes: dict[str, Any]) -> None:
    claims = OWN.claims(NOW, scope=["read"], session="s")
    if changes:
        assert Profile(name="other", **changes).read_claims(claims).scope == "read"
    else:
        with pytest.raises(InvalidClaimsError):
            Profile(name="own").read_claims(claims)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (ClaimRule(Location.of("/a", "/b"), "one_of", ("x", 1)), "claim /a or /b one of 'x' or 1"),
        (ClaimRule(Location.of("/a"), "absent"), "claim /a absent"),
    ],
)
def test_a_rule_is_described_in_words(rule: ClaimRule, words: str) -> None:
    assert str(rule) == words
