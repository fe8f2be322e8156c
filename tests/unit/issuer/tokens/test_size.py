"""The computed size is that of the longest token that can be signed."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.additional_claims import ClaimTypes
from issuer.tokens.models import AccessTokenClaims, TokenProfile, status_reference
from issuer.tokens.size import TokenBudget
from shared.access_token import MAX_ISSUED_TOKEN_BYTES
from shared.jwks import format_jwks, parse_jwks
from shared.status_list import LIST_BITS
from tests.support.signing_keys import generate_key
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.status import StatusLists
from verifier.decision.verification import Accepted, verify

ISSUER, NOW, LAST = (
    "https://login.example/tenant",
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2286, 11, 20, tzinfo=UTC),
)
BUDGET = TokenBudget(ISSUER, "gatepass", MAX_ISSUED_TOKEN_BYTES)
TYPES = ClaimTypes.parse("tenant:string,seats:number,beta:boolean,teams:strings")
PROFILE = TokenProfile(ISSUER, "gatepass", 600, MAX_ISSUED_TOKEN_BYTES, TYPES)

words = st.text(st.characters(min_codepoint=0x23, max_codepoint=0x5B, exclude_characters=","), min_size=1)
printable = st.text(min_size=1, max_size=20).filter(str.isprintable)
additional = st.fixed_dictionaries(
    {},
    optional={
        "tenant": printable,
        "seats": st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9),
        "beta": st.booleans(),
        "teams": st.lists(printable, min_size=1, max_size=4),
    },
)
claims_of_users = st.builds(
    lambda scopes, roles, client_id, audience, additional: AccessTokenClaims(
        str(UUID(int=1)),
        UUID(int=2),
        NOW,
        client_id,
        " ".join(scopes),
        audience,
        tuple(roles),
        additional=additional,
    ),
    st.lists(words),
    st.lists(words),
    st.text("ab-._", min_size=1, max_size=64),
    words,
    additional,
)
claims_of_clients = claims_of_users.map(lambda claims: replace(claims, session_id=None, auth_time=None, roles=()))


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> KeyWatcher:
    folder = tmp_path_factory.mktemp("keys")
    generate_key(folder, NOW)
    return KeyWatcher(folder, Metrics())


def mint(watcher: KeyWatcher, claims: AccessTokenClaims, now: datetime = NOW) -> str:
    tokens = AccessTokens(watcher, PROFILE, lambda: now, lambda: UUID(int=0), float)
    return tokens.mint(claims).token


@given(claims_of_users | claims_of_clients)
def test_the_computed_size_is_that_of_the_longest_token(watcher: KeyWatcher, claims: AccessTokenClaims) -> None:
    longest = replace(
        claims,
        auth_time=claims.auth_time and LAST,
        status=status_reference(ISSUER, 999_999_999, LIST_BITS - 1),
    )
    assert BUDGET.size(claims) == len(mint(watcher, longest, LAST))


@given(claims_of_users | claims_of_clients, st.integers(0, 999_999_999), st.integers(0, LIST_BITS - 1))
def test_no_token_is_longer_and_a_verifier_accepts_what_the_budget_allows(
    watcher: KeyWatcher, claims: AccessTokenClaims, list_id: int, idx: int
) -> None:
    token = mint(watcher, replace(claims, status=status_reference(ISSUER, list_id, idx)))
    assert len(token) <= BUDGET.size(claims)
    keys = TrustedKeys.from_issuers({ISSUER: parse_jwks(format_jwks([watcher.signing.private.public_key()]))})
    policy = Policy("default", frozenset({ISSUER}), frozenset({claims.audience}))
    decision = verify(token.encode(), keys=keys, policy=policy, now=NOW.timestamp(), revocations=StatusLists())
    assert BUDGET.fault(claims) is not None or isinstance(decision, Accepted)


def test_what_a_verifier_would_reject_is_over_the_budget() -> None:
    assert BUDGET.account_fault("s" * 800) is None
    assert BUDGET.account_fault("s" * 801) == "the scope has 801 characters; verifiers accept 800"
    assert BUDGET.account_fault(roles=["r" * 399, "r" * 399]) is None
    assert "the roles have 801 characters" in str(BUDGET.account_fault(roles=["r" * 399, "r" * 400]))


@pytest.mark.parametrize("scope", ["s" * 300, "s" * 301, "s" * 302, "s" * 303])
def test_the_fault_says_how_much_is_too_long(scope: str) -> None:
    shortest = AccessTokenClaims(str(UUID(int=1)), UUID(int=1), NOW, "first-party", "profile", "gatepass")
    budget = TokenBudget(ISSUER, "gatepass", BUDGET.size(shortest))
    fault = budget.account_fault(scope)
    assert fault is not None
    excess = int(fault.partition("shorten it by ")[2].partition(" ")[0])
    assert budget.account_fault(scope[excess:]) is None
