"""Contract A, minted; and the issuer's own strict reading of it."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.errors import InvalidTokenError
from issuer.keys.watcher import KeyWatcher
from issuer.telemetry.metrics import Metrics
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import AccessTokenClaims, SignedAccessToken, StatusReference
from shared.jwks import format_jwks, parse_jwks
from tests.support.signing_keys import generate_key
from verifier.decision.keyset import KeySet
from verifier.decision.policy import Policy
from verifier.decision.status import StatusLists
from verifier.decision.verification import Accepted, Rejected, verify

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECT, SESSION, JTI = UUID(int=1), UUID(int=2), UUID(int=3)


class Bench:
    def __init__(self, folder: Path) -> None:
        generate_key(folder, NOW)
        self.key_watcher = KeyWatcher(folder, Metrics())
        self.now = NOW
        self.fraction = 0.0
        self.tokens = AccessTokens(
            self.key_watcher,
            "https://issuer.example",
            "gatepass",
            600,
            2048,
            now=lambda: self.now,
            new_id=lambda: JTI,
            fraction=lambda: self.fraction,
        )

    def mint(self) -> SignedAccessToken:
        return asyncio.run(self.tokens.mint(AccessTokenClaims(str(SUBJECT), SESSION, NOW)))

    def read(self, token: str) -> UUID:
        return UUID(asyncio.run(self.tokens.read(token)).subject)

    def sign(self, changes: dict[str, Any], header: dict[str, Any] | None = None) -> str:
        claims = parts(self.mint().token)[1] | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": self.key_watcher.signing.kid, "typ": "at+jwt"} | (header or {})
        return jwt.encode(claims, self.key_watcher.signing.private, "RS256", headers)


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
        grant = AccessTokenClaims(str(SUBJECT), SESSION, NOW, ends_at=NOW + timedelta(seconds=left))
        issued = asyncio.run(bench.tokens.mint(grant))
        claims = parts(issued.token)[1]
        assert (issued.expires_in, claims["exp"] - claims["iat"]) == (life, life)


def test_a_token_over_the_budget_is_issued_and_logged(bench: Bench) -> None:
    claims = AccessTokenClaims(str(SUBJECT), SESSION, NOW, scope="s" * 700)
    with structlog.testing.capture_logs() as logs:
        token = asyncio.run(bench.tokens.mint(claims)).token
        assert logs == []
        bench.tokens._max_bytes = len(token) - 1
        token = asyncio.run(bench.tokens.mint(claims)).token
    assert bench.read(token) == SUBJECT
    assert [(log["log_level"], log["subject"], log["bytes"]) for log in logs] == [
        ("warning", str(SUBJECT), len(token))
    ]


def test_a_session_token_has_roles_and_a_status_list_index(bench: Bench) -> None:
    reference = StatusReference("https://issuer.example/status-lists/1", 7)
    grant = AccessTokenClaims(str(SUBJECT), SESSION, NOW, roles=("admin", "editor"), status=reference)
    claims = parts(asyncio.run(bench.tokens.mint(grant)).token)[1]
    assert claims["roles"] == ["admin", "editor"]
    assert claims["status"] == {"status_list": {"idx": 7, "uri": "https://issuer.example/status-lists/1"}}


def test_a_client_token_names_no_session(bench: Bench) -> None:
    token = asyncio.run(
        bench.tokens.mint(AccessTokenClaims("robot", None, None, "robot", "jobs:run", audience="jobs"))
    ).token
    claims = parts(token)[1]
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("robot", "robot", "jobs")
    assert not {"sid", "auth_time", "roles", "status"} & set(claims)


def test_an_issued_token_reads_back_as_its_claims(bench: Bench) -> None:
    bearer = asyncio.run(bench.tokens.read(bench.mint().token))
    assert (bearer.subject, bearer.session_id) == (str(SUBJECT), SESSION)
    assert (bearer.client_id, bearer.scope, bearer.jti) == ("first-party", "profile", encode(JTI.bytes))
    assert bearer.expires_at - bearer.issued_at == 600


def test_no_repr_shows_an_issued_token(bench: Bench) -> None:
    issued = bench.mint()
    assert issued.token not in repr(issued)


def test_an_issued_token_reads_back_as_its_subject(bench: Bench) -> None:
    assert bench.read(bench.mint().token) == SUBJECT


def test_a_token_expires_at_its_exp(bench: Bench) -> None:
    token = bench.mint().token
    bench.now = NOW + timedelta(seconds=599)
    assert bench.read(token) == SUBJECT
    bench.now = NOW + timedelta(seconds=600)
    with pytest.raises(InvalidTokenError):
        bench.read(token)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["gatepass"]},
        {"aud": None},
        {"sub": "ann@example.com"},
        {"sub": None},
        {"sid": "not a session"},
        {"sid": "00000000000000000000000000000002"},
        {"sid": 2},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 9999999999.5},
        {"exp": 0},
        {"iat": None},
        {"jti": None},
        {"client_id": None},
        {"client_id": ""},
        {"client_id": "a b"},
        {"scope": ["profile"]},
        {"scope": "a  b"},
        {"roles": "admin"},
        {"jti": 1},
        {"status": {}},
        {"auth_time": "now"},
        {"iat": int(NOW.timestamp()) - 3600, "exp": int(NOW.timestamp()) + 1},
        {"exp": int(NOW.timestamp()) + 100 * 365 * 86_400},
        {"nbf": int(NOW.timestamp()) + 1},
        {"cnf": {"jkt": "A" * 43}},
    ],
)
def test_other_claims_are_refused_though_our_key_signed_them(bench: Bench, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        bench.read(bench.sign(changes))


AMBIGUOUS = {
    "a member twice": lambda claims: claims[:-1] + b',"sub":"00000000-0000-0000-0000-000000000009"}',
    "the same member twice": lambda claims: claims[:-1] + b',"aud":"gatepass"}',
    "an escaped member twice": lambda claims: claims[:-1] + b',"s\\u0075b":"x"}',
    "an unknown member twice, further in": lambda claims: claims[:-1] + b',"x":[{"a":1,"a":1}]}',
    "NaN": lambda claims: claims[:-1] + b',"x":NaN}',
    "17 levels": lambda claims: claims[:-1] + b',"x":' + b"[" * 16 + b"]" * 16 + b"}",
    "a byte order mark": lambda claims: b"\xef\xbb\xbf" + claims,
    "UTF-16": lambda claims: claims.decode().encode("utf-16"),
    "something behind it": lambda claims: claims + b"{}",
    "nothing": lambda claims: claims[:0],
}


def signed_as_they_stand(bench: Bench, header: bytes, claims: bytes) -> str:
    head = f"{encode(header)}.{encode(claims)}"
    return f"{head}.{encode(bench.key_watcher.signing.private.sign(head.encode(), PKCS1v15(), SHA256()))}"


def raw_parts(bench: Bench) -> tuple[bytes, bytes]:
    header, claims = parts(bench.mint().token)
    return json.dumps(header).encode(), json.dumps(claims).encode()


@pytest.mark.parametrize("spoil", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_rfc8725_2_6_what_has_two_readings_is_refused_as_the_verifier_does(
    bench: Bench, spoil: Callable[[bytes], bytes]
) -> None:
    header, claims = raw_parts(bench)
    assert bench.read(signed_as_they_stand(bench, header, claims)) == SUBJECT
    repeated = header[:-1] + b',"typ":"at+jwt"}'
    for token in (signed_as_they_stand(bench, header, spoil(claims)), signed_as_they_stand(bench, repeated, claims)):
        with pytest.raises(InvalidTokenError):
            bench.read(token)
        assert isinstance(judged_by_a_verifier(bench, token), Rejected)


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_rfc4648_3_5_another_spelling_is_refused(bench: Bench, segment: int) -> None:
    segments = bench.mint().token.split(".")
    for spelling in (
        segments[segment] + "=",
        segments[segment] + "A",
        segments[segment] + "\n",
        "+" + segments[segment],
    ):
        with pytest.raises(InvalidTokenError):
            bench.read(".".join([*segments[:segment], spelling, *segments[segment + 1 :]]))


def judged_by_a_verifier(bench: Bench, token: str) -> Accepted | Rejected:
    key = bench.key_watcher.signing
    keys = KeySet.of({"https://issuer.example": parse_jwks(format_jwks([key.private.public_key()]))})
    policy = Policy("default", frozenset({"https://issuer.example"}), frozenset({"gatepass"}))
    return verify(token.encode(), keys=keys, policy=policy, now=bench.now.timestamp(), revocations=StatusLists())


def test_a_token_that_the_issuer_reads_the_verifier_accepts(bench: Bench) -> None:
    assert isinstance(judged_by_a_verifier(bench, bench.mint().token), Accepted)


@pytest.mark.parametrize(
    "header",
    [{"typ": "JWT"}, {"typ": "statuslist+jwt"}, {"kid": "other"}, {"extra": "x"}, {"crit": ["x"]}],
)
def test_other_headers_are_refused_though_our_key_signed_them(bench: Bench, header: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        bench.read(bench.sign({}, header))


def test_a_token_of_another_key_is_rejected(bench: Bench, tmp_path: Path) -> None:
    other = Bench(tmp_path)
    with pytest.raises(InvalidTokenError):
        bench.read(other.mint().token)
    with pytest.raises(InvalidTokenError):
        bench.read(other.sign({}, {"kid": bench.key_watcher.signing.kid}))


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(bench: Bench) -> None:
    header, claims = parts(bench.mint().token)
    signed = ".".join(encode(json.dumps(part).encode()) for part in (header | {"alg": "HS256"}, claims))
    pem = bench.key_watcher.signing.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forged = f"{signed}.{encode(hmac.digest(pem, signed.encode(), 'sha256'))}"
    with pytest.raises(InvalidTokenError):
        bench.read(forged)


def test_an_unsigned_token_is_refused(bench: Bench) -> None:
    claims = parts(bench.mint().token)[1]
    forged = jwt.encode(claims, "", "none", {"kid": bench.key_watcher.signing.kid, "typ": "at+jwt"})
    with pytest.raises(InvalidTokenError):
        bench.read(forged)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "x" * 2000, "a.b.c\n", "{}.{}.{}"]
)
def test_what_is_no_token_is_refused(bench: Bench, text: str) -> None:
    with pytest.raises(InvalidTokenError):
        bench.read(text)


def test_every_cut_of_a_token_is_refused(bench: Bench) -> None:
    token = bench.mint().token
    for length in range(len(token)):
        with pytest.raises(InvalidTokenError):
            bench.read(token[:length])


def test_a_padded_token_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidTokenError):
        bench.read(bench.mint().token + "==")


def test_the_subject_is_not_guessed_from_a_real_clock(bench: Bench) -> None:
    bench.now = datetime.fromtimestamp(time.time() + 10_000_000, UTC)
    token = asyncio.run(bench.tokens.mint(AccessTokenClaims(str(uuid4()), SESSION, NOW))).token
    assert isinstance(bench.read(token), UUID)
