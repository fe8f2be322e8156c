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
NO_JWS: Final = "not a compact JWS"
NO_HEADER: Final = "not the header of an assertion"
NO_KEY: Final = "no key of the client has this kid"
NO_KEYS: Final = 'needs a "keys" array of 1 to 8 keys'
NO_KID: Final = "a key has no kid, or one that is too long or not printable"
NO_ALGORITHM: Final = "a key is for none of RS256, PS256, ES256"
SECRET: Final = "private or symmetric key material: register public keys, replace the leaked ones"
WEAK: Final = "a key is malformed or too weak: RSA of 2048 to 8192 bits, or P-256"
OTHER_ALGORITHM: Final = "algorithm is not that of the key"

RSA_KEY: Final = rsa.generate_private_key(65537, 2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(**members: Any) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key())), "kid": "rsa"} | members


def ec_jwk(**members: Any) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key())), "kid": "ec"} | members


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    payload = {"iss": CLIENT, "sub": CLIENT, "aud": URL, "exp": SECONDS + 60, "iat": SECONDS, "jti": "one"} | changes
    return {name: value for name, value in payload.items() if value is not None}


def sign(
    payload: dict[str, Any], header: dict[str, Any] | None = None, algorithm: str = "RS256", key: Any = RSA_KEY
) -> str:
    return jwt.api_jws.encode(
        json.dumps(payload).encode(), key, algorithm, header if header is not None else {"kid": "rsa"}
    )


def encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def verify(token: str, *keys: dict[str, Any], now: datetime = NOW) -> VerifiedAssertion:
    registered = load_keys(register_keys(document(*(keys or (rsa_jwk(),)))))
    return verify_assertion(read_assertion(token), registered, URLS, now)


def assert_rejected(reason: str, token: str, *keys: dict[str, Any], now: datetime = NOW) -> None:
    """Check that it is rejected for this reason, which quotes nothing."""
    with pytest.raises(InvalidAssertionError) as error:
        verify(token, *keys, now=now)
    assert (str(error.value), error.value.__cause__) == (reason, None)


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
    ("changes", "reason"),
    [
        ({"iss": "other"}, "iss and sub are not the client"),
        ({"iss": None}, "iss and sub are not the client"),
        ({"iss": [CLIENT]}, "iss and sub are not the client"),
        ({"sub": None}, "no usable sub"),
        ({"sub": 7}, "no usable sub"),
        ({"aud": None}, "wrong audience"),
        ({"aud": "https://other.example"}, "wrong audience"),
        ({"aud": f"{URL}/"}, "wrong audience"),
        ({"aud": [URL, "https://other.example"]}, "wrong audience"),
        ({"aud": []}, "wrong audience"),
        ({"aud": {URL: True}}, "wrong audience"),
        ({"exp": None}, "no exp"),
        ({"exp": str(SECONDS + 60)}, "a time is not a number"),
        ({"exp": True}, "a time is not a number"),
        ({"exp": SECONDS - 30}, "expired"),
        ({"exp": 9e15}, "a time is not a number"),
        ({"exp": SECONDS + 331, "iat": None}, "lifetime is too long"),
        ({"iat": SECONDS + 31}, "issued in the future"),
        ({"iat": SECONDS - 331, "exp": SECONDS + 3600}, "expired"),
        ({"iat": "now"}, "a time is not a number"),
        ({"nbf": SECONDS + 31}, "not yet valid"),
        ({"nbf": []}, "a time is not a number"),
        ({"jti": None}, "no usable jti"),
        ({"jti": ""}, "no usable jti"),
        ({"jti": 1}, "no usable jti"),
        ({"jti": "j" * 257}, "no usable jti"),
    ],
)
def test_rfc7523_3_wrong_claims_are_rejected(changes: dict[str, Any], reason: str) -> None:
    assert_rejected(reason, sign(claims(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        *({"exp": SECONDS - 29}, {"exp": SECONDS + 330, "iat": None}, {"exp": SECONDS + 60.5}),
        *({"jti": "j"}, {"jti": "j" * 256}, {"nbf": SECONDS}),
    ],
)
def test_rfc7523_3_claims_at_their_limits_are_accepted(changes: dict[str, Any]) -> None:
    assert verify(sign(claims(**changes))).jti == changes.get("jti", "one")


@pytest.mark.parametrize("changes", [{"iat": SECONDS + 30}, {"nbf": SECONDS + 30}])
def test_fapi2_5_3_2_1_a_clock_that_is_ahead_by_half_a_minute_is_tolerated(changes: dict[str, Any]) -> None:
    assert verify(sign(claims(**changes))).jti == "one"


def test_rfc7523_3_4_a_lifetime_of_an_hour_is_limited_to_five_minutes() -> None:
    token = sign(claims(exp=SECONDS + 3600))
    assert verify(token).expires_at == NOW + MAX_ASSERTION_LIFETIME + LEEWAY
    assert_rejected("expired", token, now=NOW + MAX_ASSERTION_LIFETIME + LEEWAY)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "client-authentication+jwt", "application/JWT"])
def test_rfc8725_3_11_only_assertion_types_are_accepted(kind: str) -> None:
    assert verify(sign(claims(), {"kid": "rsa", "typ": kind})).jti == "one"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"kid": "rsa", "typ": "at+jwt"}, NO_HEADER),
        ({"kid": "rsa", "typ": "statuslist+jwt"}, NO_HEADER),
        ({"kid": "other"}, NO_KEY),
        ({"kid": "other", "jwk": rsa_jwk(kid="other")}, NO_JWS),
        ({"kid": ""}, NO_KEY),
    ],
)
def test_rfc8725_3_wrong_headers_are_rejected(header: dict[str, Any], reason: str) -> None:
    assert_rejected(reason, sign(claims(), header))


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ({"crit": ["exp"]}, NO_JWS),
        ({"crit": []}, NO_JWS),
        ({"crit": ["b64"], "b64": False}, NO_JWS),
        ({"b64": True}, NO_JWS),
        ({"b64": False}, NO_JWS),
        ({"zip": "DEF"}, NO_JWS),
        ({"cty": "JWT"}, NO_JWS),
        ({"enc": "A256GCM"}, NO_JWS),
        ({"jwk": rsa_jwk()}, NO_JWS),
        ({"jku": "https://elsewhere.example/keys"}, NO_JWS),
        ({"x5u": "https://elsewhere.example/certificate"}, NO_JWS),
        ({"x5c": ["AAAA"]}, NO_JWS),
        ({"nonce": "n"}, NO_HEADER),
        ({"KID": "rsa"}, NO_HEADER),
        ({"": 1}, NO_HEADER),
    ],
)
def test_rfc7515_4_1_11_unsafe_header_members_are_rejected(member: dict[str, Any], reason: str) -> None:
    header = encode(json.dumps({"alg": "RS256", "kid": "rsa", "typ": "JWT"} | member).encode())
    signed = f"{header}.{encode(json.dumps(claims()).encode())}"
    assert_rejected(reason, f"{signed}.{encode(RSA_KEY.sign(signed.encode(), PKCS1v15(), SHA256()))}")


def test_rfc7515_4_1_7_the_thumbprint_of_a_certificate_is_ignored() -> None:
    assert verify(sign(claims(), {"kid": "rsa", "x5t": "AAAA", "x5t#S256": "AAAA"})).jti == "one"


def test_rfc7515_4_1_4_without_a_kid_a_single_key_is_used() -> None:
    token = sign(claims(), {})
    assert verify(token).jti == "one"
    assert_rejected(NO_KEY, token, rsa_jwk(), ec_jwk())


def test_no_repr_shows_an_assertion() -> None:
    token = sign(claims())
    assert repr(read_assertion(token)) == "UnverifiedAssertion()"
    assert "jti" not in repr(verify(token))


def test_rfc8725_2_1_a_public_key_is_never_an_hmac_secret() -> None:
    public = RSA_KEY.public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):
        head = (
            f"{encode(json.dumps({'alg': 'HS256', 'kid': 'rsa'}).encode())}.{encode(json.dumps(claims()).encode())}"
        )
        assert_rejected(OTHER_ALGORITHM, f"{head}.{encode(hmac.digest(secret, head.encode(), hashlib.sha256))}")


@pytest.mark.parametrize("algorithm", ["none", "None", "rs256", "RS256 ", "RS512", "PS256", "ES256", ""])
def test_rfc8725_3_1_the_algorithm_comes_from_the_key(algorithm: str) -> None:
    _, payload, signature = sign(claims()).split(".")
    header = encode(json.dumps({"alg": algorithm, "kid": "rsa"}).encode())
    assert_rejected(OTHER_ALGORITHM, f"{header}.{payload}.{signature}")
    assert_rejected(NO_JWS, f"{header}.{payload}.")


def test_rfc8725_3_1_a_signature_of_the_right_key_by_another_algorithm_is_rejected() -> None:
    assert_rejected(OTHER_ALGORITHM, sign(claims(), algorithm="RS512"))
    assert_rejected(OTHER_ALGORITHM, sign(claims(), algorithm="PS256"))
    assert_rejected(OTHER_ALGORITHM, sign(claims(), algorithm="RS256"), rsa_jwk(alg="PS256"))


def test_rfc7515_4_repeated_members_are_rejected() -> None:
    double = b'{"iss":"reports","sub":"other","sub":"reports"}'
    assert_rejected("not strict JSON", jwt.api_jws.encode(double, RSA_KEY, "RS256", {"kid": "rsa"}))


def test_a_signature_of_another_key_is_rejected() -> None:
    assert_rejected("bad signature", sign(claims(), key=rsa.generate_private_key(65537, 2048)))


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", "a.b.c.d", "\0.e30.c", "é.e30.c", "e30=.e30.c"])
def test_a_malformed_assertion_is_rejected(text: str) -> None:
    assert_rejected(NO_JWS, text)


def test_an_assertion_without_a_subject_is_rejected() -> None:
    assert_rejected("no usable sub", "e30.e30.e30")


def test_the_size_of_an_assertion_is_bounded_to_the_byte() -> None:
    longest, longer = sign(claims(padding="x" * 2639)), sign(claims(padding="x" * 2638), {"kid": "rsab"})
    assert (len(longest), len(longer)) == (4096, 4097)
    assert verify(longest).jti == "one"
    assert_rejected(NO_JWS, longer, rsa_jwk(kid="rsab"))


def test_only_known_members_of_a_client_key_are_stored() -> None:
    kept = register_keys(document(rsa_jwk(use="sig", key_ops=["verify"], x5u="https://elsewhere.example"), ec_jwk()))
    assert [set(key) for key in kept] == [{"kty", "n", "e", "kid", "alg"}, {"kty", "crv", "x", "y", "kid", "alg"}]
    assert [key["alg"] for key in kept] == ["RS256", "ES256"]


@pytest.mark.parametrize(
    ("registered", "reason"),
    [
        (b"", "not strict JSON"),
        (b"[]", "not one JSON object"),
        (b'{"keys":{}}', NO_KEYS),
        (b'{"keys":7}', NO_KEYS),
        (document(), NO_KEYS),
        (document("key"), "a key is not an object"),
        (document(*(rsa_jwk(kid=str(number)) for number in range(9))), NO_KEYS),
        (document(rsa_jwk(), rsa_jwk()), "two keys have the same kid"),
        (document(rsa_jwk(kid=None)), NO_KID),
        (document(rsa_jwk(kid="")), NO_KID),
        (document(rsa_jwk(kid="k" * 257)), NO_KID),
        (document(rsa_jwk(kid="a\0b")), NO_KID),
        (document(rsa_jwk(kid="\x1b[2J")), NO_KID),
        (document(rsa_jwk(use="enc")), "a key is not for signatures"),
        (document(rsa_jwk(key_ops=["encrypt"])), "a key is not for signatures"),
        (document(rsa_jwk(key_ops=7)), "a key is not for signatures"),
        (document(rsa_jwk(alg="HS256")), NO_ALGORITHM),
        (document(rsa_jwk(alg="RS512")), NO_ALGORITHM),
        (document(rsa_jwk(alg=["RS256"])), NO_ALGORITHM),
        (document(rsa_jwk(alg="ES256")), NO_ALGORITHM),
        (document(rsa_jwk(kty=["RSA"])), NO_ALGORITHM),
        (document(rsa_jwk(n="AQAB")), WEAK),
        (document(rsa_jwk(e="AQ")), WEAK),
        (document(rsa_jwk(d="AQAB")), SECRET),
        (document({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}), SECRET),
        (document({"kty": "oct", "kid": "k"}), SECRET),
        (document(ec_jwk(d="AQAB")), SECRET),
        (document(ec_jwk(crv="P-384")), WEAK),
        (document(ec_jwk(x="AAAA")), WEAK),
        (document(ec_jwk(y=7)), WEAK),
        (document(ec_jwk(x=ec_jwk()["x"] + "=")), WEAK),
        (document({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "k"}), NO_ALGORITHM),
    ],
)
def test_unusable_or_private_client_keys_are_not_registered(registered: bytes, reason: str) -> None:
    with pytest.raises(ClientKeysError) as error:
        register_keys(registered)
    assert str(error.value) == reason


def test_eight_keys_with_long_names_are_registered() -> None:
    names = [f"{number}".rjust(256, "k") for number in range(8)]
    assert [key["kid"] for key in register_keys(document(*(rsa_jwk(kid=name) for name in names)))] == names


def test_a_weak_rsa_key_is_not_registered() -> None:
    weak = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    with pytest.raises(ClientKeysError):
        register_keys(document(weak | {"kid": "weak"}))
