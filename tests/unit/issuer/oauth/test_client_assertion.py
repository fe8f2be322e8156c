"""Client keys that may be registered, and assertions that authenticate a client (RFC 7523 §3)."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from issuer.oauth.client_assertion import (
    LEEWAY,
    MAX_ASSERTION_LIFETIME,
    ClientKeysError,
    InvalidAssertionError,
    VerifiedAssertion,
    load_keys,
    read_assertion,
    register_keys,
    verify_assertion,
)

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS: Final = int(NOW.timestamp())
URL: Final = "https://issuer.example"
URLS: Final = frozenset({URL, f"{URL}/token"})
CLIENT: Final = "reports"

RSA_KEY: Final = rsa.generate_private_key(65537, 2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(key: rsa.RSAPrivateKey = RSA_KEY, **members: Any) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "rsa"} | members


def ec_jwk(key: ec.EllipticCurvePrivateKey = EC_KEY, **members: Any) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "ec"} | members


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    said = {"iss": CLIENT, "sub": CLIENT, "aud": URL, "exp": SECONDS + 60, "iat": SECONDS, "jti": "one"} | changes
    return {name: value for name, value in said.items() if value is not None}


def sign(
    said: dict[str, Any], header: dict[str, Any] | None = None, algorithm: str = "RS256", key: Any = RSA_KEY
) -> str:
    return jwt.api_jws.encode(
        json.dumps(said).encode(), key, algorithm, header if header is not None else {"kid": "rsa"}
    )


def encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def verify(token: str, *keys: dict[str, Any], now: datetime = NOW) -> VerifiedAssertion:
    registered = load_keys(register_keys(document(*(keys or (rsa_jwk(),)))))
    return verify_assertion(read_assertion(token), registered, URLS, now)


def assert_refused(token: str, *keys: dict[str, Any], now: datetime = NOW) -> None:
    with pytest.raises(InvalidAssertionError) as error:
        verify(token, *keys, now=now)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    ("algorithm", "key", "jwk"),
    [
        ("RS256", RSA_KEY, rsa_jwk(kid="k")),
        ("PS256", RSA_KEY, rsa_jwk(kid="k", alg="PS256")),
        ("ES256", EC_KEY, ec_jwk(kid="k")),
    ],
)
def test_rfc7523_3_a_signed_assertion_authenticates_its_client(algorithm: str, key: Any, jwk: dict[str, Any]) -> None:
    verified = verify(sign(claims(), {"kid": "k"}, algorithm, key), jwk)
    assert verified == VerifiedAssertion("one", NOW + timedelta(seconds=60) + LEEWAY)


@pytest.mark.parametrize("audience", [URL, f"{URL}/token", [URL]])
def test_rfc7523_3_3_the_audience_is_the_issuer(audience: Any) -> None:
    assert verify(sign(claims(aud=audience))).jti == "one"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"iss": None},
        {"iss": [CLIENT]},
        {"sub": None},
        {"sub": 7},
        {"aud": None},
        {"aud": "https://other.example"},
        {"aud": f"{URL}/"},
        {"aud": [URL, "https://other.example"]},
        {"aud": []},
        {"aud": {URL: True}},
        {"exp": None},
        {"exp": str(SECONDS + 60)},
        {"exp": True},
        {"exp": SECONDS - 30},
        {"exp": 9e15},
        {"exp": SECONDS + 331, "iat": None},
        {"iat": SECONDS + 31},
        {"iat": SECONDS - 331, "exp": SECONDS + 3600},
        {"iat": "now"},
        {"nbf": SECONDS + 31},
        {"nbf": []},
        {"jti": None},
        {"jti": ""},
        {"jti": 1},
        {"jti": "j" * 257},
    ],
)
def test_rfc7523_3_wrong_claims_are_rejected(changes: dict[str, Any]) -> None:
    assert_refused(sign(claims(**changes)))


@pytest.mark.parametrize("changes", [{"iat": SECONDS + 30}, {"nbf": SECONDS + 30}])
def test_fapi2_5_3_2_1_a_clock_that_is_ahead_by_half_a_minute_is_tolerated(changes: dict[str, Any]) -> None:
    assert verify(sign(claims(**changes))).jti == "one"


def test_rfc7523_3_4_a_lifetime_of_an_hour_is_limited_to_five_minutes() -> None:
    token = sign(claims(exp=SECONDS + 3600))
    assert verify(token).expires_at == NOW + MAX_ASSERTION_LIFETIME + LEEWAY
    assert_refused(token, now=NOW + MAX_ASSERTION_LIFETIME + LEEWAY)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "client-authentication+jwt", "application/JWT"])
def test_rfc8725_3_11_only_assertion_types_are_accepted(kind: str) -> None:
    assert verify(sign(claims(), {"kid": "rsa", "typ": kind})).jti == "one"


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "rsa", "typ": "at+jwt"},
        {"kid": "rsa", "typ": "statuslist+jwt"},
        {"kid": "other"},
        {"kid": "other", "jwk": rsa_jwk(kid="other")},
        {"kid": ""},
    ],
)
def test_rfc8725_3_wrong_headers_are_rejected(header: dict[str, Any]) -> None:
    assert_refused(sign(claims(), header))


@pytest.mark.parametrize(
    "member",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
        {"jwk": rsa_jwk()},
        {"jku": "https://elsewhere.example/keys"},
        {"x5u": "https://elsewhere.example/certificate"},
        {"x5c": ["AAAA"]},
        {"nonce": "n"},
        {"KID": "rsa"},
        {"": 1},
    ],
)
def test_rfc7515_4_1_11_unsafe_header_members_are_rejected(member: dict[str, Any]) -> None:
    header = encode(json.dumps({"alg": "RS256", "kid": "rsa", "typ": "JWT"} | member).encode())
    signed = f"{header}.{encode(json.dumps(claims()).encode())}"
    assert_refused(f"{signed}.{encode(RSA_KEY.sign(signed.encode(), PKCS1v15(), SHA256()))}")


def test_rfc7515_4_1_7_the_thumbprint_of_a_certificate_is_ignored() -> None:
    assert verify(sign(claims(), {"kid": "rsa", "x5t": "AAAA", "x5t#S256": "AAAA"})).jti == "one"


def test_rfc7515_4_1_4_without_a_kid_a_single_key_is_used() -> None:
    token = sign(claims(), {})
    assert verify(token).jti == "one"
    assert_refused(token, rsa_jwk(), ec_jwk())


def test_rfc8725_2_1_a_public_key_is_never_an_hmac_secret() -> None:
    public = RSA_KEY.public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):
        head = (
            f"{encode(json.dumps({'alg': 'HS256', 'kid': 'rsa'}).encode())}.{encode(json.dumps(claims()).encode())}"
        )
        assert_refused(f"{head}.{encode(hmac.digest(secret, head.encode(), hashlib.sha256))}")


@pytest.mark.parametrize("algorithm", ["none", "None", "rs256", "RS256 ", "RS512", "PS256", "ES256", ""])
def test_rfc8725_3_1_the_algorithm_comes_from_the_key(algorithm: str) -> None:
    _, payload, signature = sign(claims()).split(".")
    header = encode(json.dumps({"alg": algorithm, "kid": "rsa"}).encode())
    assert_refused(f"{header}.{payload}.{signature}")
    with pytest.raises(InvalidAssertionError):
        read_assertion(f"{header}.{payload}.")


def test_rfc8725_3_1_a_signature_of_the_right_key_by_another_algorithm_is_rejected() -> None:
    assert_refused(sign(claims(), algorithm="RS512"))
    assert_refused(sign(claims(), algorithm="PS256"))
    assert_refused(sign(claims(), algorithm="RS256"), rsa_jwk(alg="PS256"))


def test_rfc7515_4_repeated_members_are_rejected() -> None:
    double = b'{"iss":"reports","sub":"other","sub":"reports"}'
    token = jwt.api_jws.encode(double, RSA_KEY, "RS256", {"kid": "rsa"})
    with pytest.raises(InvalidAssertionError):
        read_assertion(token)


def test_a_signature_of_another_key_is_rejected() -> None:
    assert_refused(sign(claims(), key=rsa.generate_private_key(65537, 2048)))


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.b.c.d", "\0.e30.c", "e30.e30.e30", "é.e30.c", "e30=.e30.c"])
def test_a_malformed_assertion_is_rejected(text: str) -> None:
    with pytest.raises(InvalidAssertionError):
        read_assertion(text)


def test_an_oversized_assertion_is_rejected_unparsed() -> None:
    with pytest.raises(InvalidAssertionError):
        read_assertion(sign(claims(padding="x" * 4096)))


def test_only_known_members_of_a_client_key_are_stored() -> None:
    kept = register_keys(document(rsa_jwk(use="sig", key_ops=["verify"], x5u="https://elsewhere.example"), ec_jwk()))
    assert [set(key) for key in kept] == [{"kty", "n", "e", "kid", "alg"}, {"kty", "crv", "x", "y", "kid", "alg"}]
    assert [key["alg"] for key in kept] == ["RS256", "ES256"]


@pytest.mark.parametrize(
    "registered",
    [
        b"",
        b"[]",
        b'{"keys":{}}',
        document(),
        document("key"),
        document(*(rsa_jwk(kid=str(number)) for number in range(9))),
        document(rsa_jwk(), rsa_jwk()),
        document(rsa_jwk(kid=None)),
        document(rsa_jwk(kid="")),
        document(rsa_jwk(kid="a\0b")),
        document(rsa_jwk(kid="\x1b[2J")),
        document(rsa_jwk(use="enc")),
        document(rsa_jwk(key_ops=["encrypt"])),
        document(rsa_jwk(key_ops=7)),
        document(rsa_jwk(alg="HS256")),
        document(rsa_jwk(alg="RS512")),
        document(rsa_jwk(alg=["RS256"])),
        document(rsa_jwk(alg="ES256")),
        document(rsa_jwk(kty=["RSA"])),
        document(rsa_jwk(n="AQAB")),
        document(rsa_jwk(e="AQ")),
        document(rsa_jwk(d="AQAB")),
        document({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
        document(ec_jwk(d="AQAB")),
        document(ec_jwk(crv="P-384")),
        document(ec_jwk(x="AAAA")),
        document(ec_jwk(y=7)),
        document(ec_jwk(x=ec_jwk()["x"] + "=")),
        document({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "k"}),
    ],
)
def test_unusable_or_private_client_keys_are_not_registered(registered: bytes) -> None:
    with pytest.raises(ClientKeysError):
        register_keys(registered)


def test_a_weak_rsa_key_is_not_registered() -> None:
    weak = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    with pytest.raises(ClientKeysError):
        register_keys(document(weak | {"kid": "weak"}))
