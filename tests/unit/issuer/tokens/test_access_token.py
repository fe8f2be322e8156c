"""Access tokens that the issuer creates and verifies (contract A)."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from issuer.errors import InvalidTokenError
from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import AccessTokenClaims, SignedAccessToken, TokenProfile, status_reference
from shared.access_token import MAX_LIFETIME_SECONDS
from shared.jwks import format_jwks, parse_jwks
from tests.support.signing_keys import generate_key
from tests.support.vector_keys import GOOD
from tests.support.vector_keys import NOW as VECTOR_TIME
from tests.support.vectors import TOKEN_VECTORS
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.status import StatusLists
from verifier.decision.verification import Accepted, Rejected, verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECT, SESSION, JTI = UUID(int=1), UUID(int=2), UUID(int=3)
CLAIMS = AccessTokenClaims(str(SUBJECT), SESSION, NOW, "first-party", "profile", "gatepass")


class Bench:
    def __init__(self, folder: Path) -> None:
        generate_key(folder, NOW)
        self.key_watcher = KeyWatcher(folder, Metrics())
        self.now = NOW
        self.fraction = 0.0
        self.tokens = AccessTokens(
            self.key_watcher,
            TokenProfile("https://issuer.example", "gatepass"),
            now=lambda: self.now,
            new_id=lambda: JTI,
            fraction=lambda: self.fraction,
        )

    def mint(self) -> SignedAccessToken:
        return self.tokens.mint(CLAIMS)

    def read(self, token: str) -> UUID:
        return UUID(self.tokens.read(token).subject)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def bench(folder: Path) -> Bench:
    return Bench(folder)


def encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims))


def test_a_token_has_the_claims_of_its_contract(bench: Bench) -> None:
    header, claims = parts(bench.mint().token)
    assert header == {"alg": "RS256", "kid": bench.key_watcher.signing.kid, "typ": "at+jwt"}
    assert claims == {
        "iss": "https://issuer.example",
        "sub": str(SUBJECT),
        "aud": "gatepass",
        "exp": int(NOW.timestamp()) + 600,
        "iat": int(NOW.timestamp()),
        "jti": encode(JTI.bytes),
        "client_id": "first-party",
        "scope": "profile",
        "auth_time": int(NOW.timestamp()),
        "sid": str(SESSION),
    }


def test_lifetimes_vary_by_up_to_a_twentieth(bench: Bench) -> None:
    lives = []
    for bench.fraction in (0.0, 0.5, 0.999):
        issued = bench.mint()
        assert parts(issued.token)[1]["exp"] - int(NOW.timestamp()) == issued.expires_in
        lives.append(issued.expires_in)
    assert lives == [600, 585, 571]


def test_a_token_does_not_outlive_its_session(bench: Bench) -> None:
    for left, life in ((3600, 600), (600, 600), (90, 90), (0, 1)):
        grant = replace(CLAIMS, session_expires_at=NOW + timedelta(seconds=left))
        issued = bench.tokens.mint(grant)
        claims = parts(issued.token)[1]
        assert (issued.expires_in, claims["exp"] - claims["iat"]) == (life, life)


def test_a_token_with_the_longest_lifetime_reads_back(bench: Bench) -> None:
    bench.tokens._profile = replace(bench.tokens._profile, lifetime_seconds=MAX_LIFETIME_SECONDS)
    issued = bench.mint()
    assert issued.expires_in == MAX_LIFETIME_SECONDS
    assert bench.read(issued.token) == SUBJECT


def test_a_token_over_the_budget_is_issued_and_logged(bench: Bench) -> None:
    claims = replace(CLAIMS, scope="s" * 700)
    with structlog.testing.capture_logs() as logs:
        token = bench.tokens.mint(claims).token
        bench.tokens._profile = replace(bench.tokens._profile, max_bytes=len(token))
        token = bench.tokens.mint(claims).token
        assert logs == []
        bench.tokens._profile = replace(bench.tokens._profile, max_bytes=len(token) - 1)
        token = bench.tokens.mint(claims).token
    assert bench.read(token) == SUBJECT
    assert [(log["log_level"], log["subject"], log["bytes"]) for log in logs] == [
        ("warning", str(SUBJECT), len(token))
    ]


def test_a_session_token_has_roles_and_a_status_list_index(bench: Bench) -> None:
    reference = status_reference("https://issuer.example", 1, 7)
    grant = replace(CLAIMS, roles=("admin", "editor"), status=reference)
    claims = parts(bench.tokens.mint(grant).token)[1]
    assert claims["roles"] == ["admin", "editor"]
    assert claims["status"] == {"status_list": {"idx": 7, "uri": "https://issuer.example/status-lists/1"}}


def test_a_client_token_names_no_session(bench: Bench) -> None:
    token = bench.tokens.mint(AccessTokenClaims("robot", None, None, "robot", "jobs:run", "jobs")).token
    claims = parts(token)[1]
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("robot", "robot", "jobs")
    assert not {"sid", "auth_time", "roles", "status"} & set(claims)
    read = bench.tokens.read_any_audience(token)
    assert (read.subject, read.session_id, read.audience) == ("robot", None, "jobs")


def test_an_issued_token_reads_back_as_its_claims(bench: Bench) -> None:
    bearer = bench.tokens.read(bench.mint().token)
    assert (bearer.subject, bearer.session_id) == (str(SUBJECT), SESSION)
    assert (bearer.client_id, bearer.scope, bearer.jti) == ("first-party", "profile", encode(JTI.bytes))
    assert bearer.expires_at - bearer.issued_at == 600


def test_no_repr_shows_an_issued_token(bench: Bench) -> None:
    issued = bench.mint()
    assert issued.token not in repr(issued)


def test_a_token_expires_at_its_exp(bench: Bench) -> None:
    token = bench.mint().token
    bench.now = NOW + timedelta(seconds=599)
    assert bench.read(token) == SUBJECT
    bench.now = NOW + timedelta(seconds=600)
    with pytest.raises(InvalidTokenError):
        bench.read(token)


def decided_by_a_verifier(bench: Bench, token: str) -> Accepted | Rejected:
    key = bench.key_watcher.signing
    keys = TrustedKeys.from_issuers({"https://issuer.example": parse_jwks(format_jwks([key.private.public_key()]))})
    policy = Policy("default", frozenset({"https://issuer.example"}), frozenset({"gatepass"}))
    return verify(token.encode(), keys=keys, policy=policy, now=bench.now.timestamp(), revocations=StatusLists())


def test_a_token_that_the_issuer_reads_the_verifier_accepts(bench: Bench) -> None:
    assert isinstance(decided_by_a_verifier(bench, bench.mint().token), Accepted)


class VectorKeys:
    """The key set with which the issuer of the vectors verifies."""

    @property
    def key_set(self) -> "VectorKeys":
        return self

    def public_key(self, kid: str) -> RSAPublicKey | None:
        return GOOD.key.public_key() if kid == GOOD.kid else None


@pytest.fixture(scope="module")
def issuer_of_the_vectors() -> AccessTokens:
    now = datetime.fromtimestamp(VECTOR_TIME, UTC)
    return AccessTokens(
        cast("KeyWatcher", VectorKeys()), TokenProfile(GOOD.issuer, "gatepass"), lambda: now, uuid4, float
    )


STATUS_OR_POLICY = {"revoked", "status_unavailable", "insufficient_scope", "insufficient_role", "too_old"}
"""Checks of a verifier after those of the token. The issuer checks the session in its database instead."""
ISSUED_LATER = {"12-time/nbf-before-iat", "12-time/iat-an-hour-ahead"}
"""The issuer accepts a token with a later `iat`: its clock may have been set back since it issued the token."""
REJECTED = [
    pytest.param(vector["token"], id=vector["id"])
    for vector in TOKEN_VECTORS
    if (vector["key_sets"], vector["policy"], vector["now"]) == ("issuer", "default", VECTOR_TIME)
    and vector["expected"].get("reason", "revoked") not in STATUS_OR_POLICY
    and vector["id"] not in ISSUED_LATER
]


def test_the_issuer_reads_the_accepted_token_of_the_vectors(issuer_of_the_vectors: AccessTokens) -> None:
    assert issuer_of_the_vectors.read(GOOD.token(VECTOR_TIME).decode()).subject
    assert issuer_of_the_vectors.read(GOOD.token(VECTOR_TIME, nbf=VECTOR_TIME).decode()).subject


@pytest.mark.parametrize("token", REJECTED)
def test_the_issuer_rejects_every_token_that_a_verifier_rejects(
    issuer_of_the_vectors: AccessTokens, token: str
) -> None:
    with pytest.raises(InvalidTokenError):
        issuer_of_the_vectors.read(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["gatepass"]},
        {"sub": "ann@example.com"},
        {"sid": "00000000000000000000000000000002"},
        {"nbf": VECTOR_TIME + 1},
    ],
)
def test_the_issuer_rejects_claims_that_it_never_writes(
    issuer_of_the_vectors: AccessTokens, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidTokenError):
        issuer_of_the_vectors.read(GOOD.token(VECTOR_TIME, **changes).decode())


def test_the_issuer_rejects_a_header_member_that_it_never_writes(issuer_of_the_vectors: AccessTokens) -> None:
    with pytest.raises(InvalidTokenError):
        issuer_of_the_vectors.read(GOOD.token(VECTOR_TIME, {"extra": "x"}).decode())
