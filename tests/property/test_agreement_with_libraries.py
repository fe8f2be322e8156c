"""PyJWT and joserfc accept every token that the verifier accepts; other differences are listed with a reason."""

from collections.abc import Callable
from typing import Any, Final

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.reference_libraries import PUBLISHED, joserfc_accepts, published_keys, pyjwt_accepts
from tests.property.strictnesses import STRICTNESSES, Lax
from tests.support.vector_keys import GOOD, NOW, STATUS_LIST
from tests.support.vectors import KEY_SETS, POLICIES, TOKEN_VECTORS, decide, octets
from verifier.decision.policy import Policy
from verifier.decision.reasons import RejectionReason
from verifier.decision.status import StatusLists
from verifier.decision.verification import Accepted, Rejected, verify

Accepts = Callable[[bytes, list[dict[str, Any]], Policy, float], bool]
LIBRARIES: Final[dict[str, Accepts]] = {"PyJWT": pyjwt_accepts, "joserfc": joserfc_accepts}
library = pytest.mark.parametrize("accepts", LIBRARIES.values(), ids=LIBRARIES)


def justified_by(token: bytes, key_sets: str, policy: Policy, reason: RejectionReason) -> set[str]:
    """Return the listed differences that explain a rejection for `reason` of a token that a library accepts."""
    owners = {key["n"]: issuer for issuer, jwks in PUBLISHED[key_sets].items() for key in jwks["keys"] if "n" in key}
    lax = Lax(token, policy, published_keys(key_sets), owners)
    return {known.name for known in STRICTNESSES if known.reason is reason and known.applies(lax)}


@library
def test_every_accepted_vector_is_accepted_by_the_library(accepts: Accepts) -> None:
    rejected = [
        vector["id"]
        for vector in TOKEN_VECTORS
        if isinstance(decide(vector), Accepted)
        and not _library_accepts(accepts, vector)
        and not (accepts is pyjwt_accepts and _is_in_the_last_fraction(vector))
    ]
    assert rejected == []


@library
def test_every_vector_that_only_the_library_accepts_is_a_named_strictness(accepts: Accepts) -> None:
    unexplained = []
    for vector in TOKEN_VECTORS:
        decision = decide(vector)
        if isinstance(decision, Rejected) and _library_accepts(accepts, vector):
            policy = POLICIES[vector["policy"]]
            if not justified_by(octets(vector["token"]), vector["key_sets"], policy, decision.reason):
                unexplained.append((vector["id"], decision.reason))
    assert unexplained == []


def test_every_strictness_rejects_a_vector_that_the_library_accepts() -> None:
    """Each listed difference rejects at least one token that a library accepts."""
    used: set[str] = set()
    for vector in TOKEN_VECTORS:
        decision = decide(vector)
        if isinstance(decision, Rejected) and any(
            _library_accepts(accepts, vector) for accepts in LIBRARIES.values()
        ):
            token, policy = octets(vector["token"]), POLICIES[vector["policy"]]
            used |= justified_by(token, vector["key_sets"], policy, decision.reason)
    assert used == {known.name for known in STRICTNESSES}


def _is_in_the_last_fraction(vector: dict[str, Any]) -> bool:
    """Return whether `now` is after the whole seconds of `exp`: PyJWT ignores the fraction."""
    expires_at: float = jwt.decode(vector["token"], options={"verify_signature": False})["exp"]  # noqa: TID251 - read only
    now: float = vector["now"] - POLICIES[vector["policy"]].leeway_seconds
    return int(expires_at) <= now < expires_at


def _library_accepts(accepts: Accepts, vector: dict[str, Any]) -> bool:
    policy = POLICIES[vector["policy"]]
    return accepts(octets(vector["token"]), published_keys(vector["key_sets"]), policy, vector["now"])


# Values that are right for one claim and wrong for another, around every bound that there is.
_VALUES: Final = st.one_of(
    st.sampled_from(
        [
            ...,
            None,
            True,
            False,
            0,
            1,
            -1,
            2**53 - 1,
            2**53,
            1.5,
            1e300,
            -0.0,
            "",
            "x",
            " ",
            "a b",
            "a,b",
            "\r\n",
            "é",
        ]
    ),
    st.sampled_from(
        [GOOD.issuer, GOOD.issuer + "/", [GOOD.issuer], "gatepass", ["gatepass"], ["gatepass", 1], [], {}]
    ),
    st.sampled_from([NOW + delta for delta in (-601, -600, -6, -5.5, -5, -4, 0, 0.5, 4, 5, 6, 600, 600.5)]),
    st.sampled_from([{"status_list": {"uri": STATUS_LIST, "idx": 1}}, {"status_list": 1}]),
    st.text("aé \x7f\u2028\U0001f511", max_size=5),
    st.recursive(st.none() | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=4),
)
_CLAIMS: Final = st.dictionaries(
    st.sampled_from(sorted({*GOOD.claims(NOW), "nbf", "roles", "status", "cnf", "x"})),
    _VALUES,
    max_size=4,
)
_HEADERS: Final = st.dictionaries(
    st.sampled_from(["alg", "typ", "kid", "crit", "cty", "b64", "jwk", "x"]),
    st.sampled_from([..., None, "RS256", "none", "at+jwt", "JWT", "Application/at+jwt", [], ["x"], True, 1, "x"]),
    max_size=2,
)


@given(header=_HEADERS, claims=_CLAIMS, policy=st.sampled_from(["default", "no-leeway", "fresh", "two-audiences"]))
def test_any_token_is_decided_like_the_libraries_except_for_named_strictnesses(
    header: dict[str, Any], claims: dict[str, Any], policy: str
) -> None:
    token = GOOD.token(NOW, header, **claims)
    decision = verify(token, keys=KEY_SETS["issuer"], policy=POLICIES[policy], now=NOW, revocations=StatusLists())
    for name, accepts in LIBRARIES.items():
        accepted = accepts(token, published_keys("issuer"), POLICIES[policy], NOW)
        if isinstance(decision, Accepted):
            assert accepted, name
        elif accepted:
            assert justified_by(token, "issuer", POLICIES[policy], decision.reason), (name, decision.reason)
