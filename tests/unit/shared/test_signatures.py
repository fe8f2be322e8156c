"""Signatures and keys of every algorithm: Project Wycheproof's vectors, and keys with inconsistent members."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from shared.base64url import decode, encode
from shared.ed25519 import is_trustworthy_point
from shared.jwks import JwksError, PublicKey, parse_jwks
from shared.jws import JwsFault, read_compact
from shared.signatures import KEY_TYPES, is_signed
from tests.support.providers import signing_key

FOLDER: Final = Path(__file__).parents[2] / "vectors" / "wycheproof"
SIGNATURES: Final = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "json_web_signature_test")
EVERY: Final = frozenset(KEY_TYPES)
Json = dict[str, Any]


def load(name: str) -> Json:
    vectors: Json = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return vectors


def key_of(jwk: Json, algorithms: frozenset[str] = EVERY) -> PublicKey | None:
    """Return the key of a key set with this entry, if it is valid."""
    document = json.dumps({"keys": [{"kid": "k", **jwk}]}).encode()
    try:
        (key,) = parse_jwks(document, algorithms).keys.values()
    except JwksError:
        return None
    return key


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_signature_of_wycheproof_is_verified_correctly(name: str) -> None:
    vectors = load(name)
    algorithm, wrong, tried = vectors["algorithm"], [], 0
    for group in vectors["groups"]:
        key = key_of(group["jwk"], frozenset({algorithm}))
        assert key is not None
        for number, comment, message, signature, result in group["tests"]:
            verified = is_signed(algorithm, key.material, bytes.fromhex(signature), bytes.fromhex(message))
            tried += 1
            if verified != (result == "valid"):
                wrong.append((number, comment, result))
    assert wrong == []
    assert tried > 100


def test_every_jws_of_wycheproof_is_verified_correctly_except_two() -> None:
    """RFC 7520's figure 20 is signed by PS384, but Wycheproof's JWK for it has PS256."""
    wrong = []
    for group in load("json_web_signature_test")["groups"]:
        key = key_of({**group["jwk"], "kid": "k"})
        for _, comment, token, result in group["tests"]:
            jws = read_compact(token.encode(), 8192) if isinstance(token, str) else JwsFault.MALFORMED
            accepted = (
                key is not None
                and not isinstance(jws, JwsFault)
                and jws.header.algorithm in key.algorithms
                and jws.is_signed_by(key.material, jws.header.algorithm)
            )
            if accepted != (result == "valid"):
                wrong.append((comment, result))
    assert wrong == [("Figure20", "valid")] * 2


@pytest.mark.parametrize("algorithm", sorted(EVERY))
def test_a_signature_holds_for_its_algorithm_key_length_and_bytes_alone(algorithm: str) -> None:
    signer, data = signing_key(algorithm), b"header.payload"
    key = key_of(signer.jwk())
    assert key is not None
    assert key.algorithms == {algorithm}
    valid = signer.signature(data)
    assert is_signed(algorithm, key.material, valid, data)
    another = key_of(signing_key(algorithm, "another").jwk())
    assert another is not None
    assert not is_signed(algorithm, another.material, valid, data)
    for invalid in (
        b"",
        valid[:-1],
        valid + b"\0",
        b"\0" + valid,
        bytes(len(valid)),
        valid[::-1],
        b"\xff" * len(valid),
    ):
        assert not is_signed(algorithm, key.material, invalid, data)
    assert not is_signed(algorithm, key.material, valid, data + b" ")


def test_r_and_s_have_exactly_their_length() -> None:
    """Other splits of the bytes would give the same two numbers."""
    signer, data = signing_key("ES256"), b"x"
    key = key_of(signer.jwk())
    assert key is not None
    raw = signer.signature(data)
    assert is_signed("ES256", key.material, raw, data)
    assert not is_signed("ES256", key.material, raw[:32] + b"\0" + raw[32:], data)
    short = next(one for n in range(10_000) if (one := signer.signature(n.to_bytes(2, "big")))[32] == 0)
    signed = next(n for n in range(10_000) if is_signed("ES256", key.material, short, n.to_bytes(2, "big")))
    assert not is_signed("ES256", key.material, short[:32] + short[33:], signed.to_bytes(2, "big"))


def test_a_der_signature_is_no_ecdsa_signature_of_jws() -> None:
    signer, data = signing_key("ES256"), b"x"
    raw = signer.signature(data)
    key = key_of(signer.jwk())
    assert key is not None
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert not is_signed("ES256", key.material, der, data)


P256, P384, ED, RSA = (signing_key(name).jwk(alg=..., use=...) for name in ("ES256", "ES384", "EdDSA", "RS256"))
SHORT: Final = encode(decode(P256["x"])[1:])
LONG: Final = encode(b"\0" + decode(P256["x"]))


@pytest.mark.parametrize(
    ("jwk", "algorithms"),
    [
        (P256, {"ES256"}),
        (P384, {"ES384"}),
        (ED, {"EdDSA"}),
        (RSA, {"RS256", "PS256"}),
        ({**RSA, "alg": "PS256"}, {"PS256"}),
        ({**RSA, "crv": "P-256"}, {"RS256", "PS256"}),
        ({**P256, "use": "sig", "key_ops": ["verify", "sign"], "alg": "ES256"}, {"ES256"}),
        ({**P256, "alg": "ES384"}, None),
        ({**P256, "alg": "RS256"}, None),
        ({**P256, "alg": "ECDH-ES"}, None),
        ({**P256, "alg": None}, None),
        ({**P256, "crv": "P-384"}, None),
        ({**P384, "crv": "P-256"}, None),
        ({**P256, "crv": "secp256k1"}, None),
        ({**P256, "crv": "P-521"}, None),
        ({**P256, "crv": ["P-256"]}, None),
        ({**P256, "crv": None}, None),
        ({**P256, "kty": "OKP"}, None),
        ({**P256, "kty": "RSA"}, None),
        ({**P256, "kty": ["EC"]}, None),
        ({**P256, "use": "enc"}, None),
        ({**P256, "key_ops": ["deriveKey"]}, None),
        ({**P256, "key_ops": "verify"}, None),
        ({**P256, "x": SHORT}, None),
        ({**P256, "x": LONG}, None),
        ({**P256, "x": LONG, "y": encode(b"\0" + decode(P256["y"]))}, None),
        ({**P256, "x": P256["y"], "y": P256["x"]}, None),
        ({**P256, "y": encode(bytes(32))}, None),
        ({**P256, "x": encode(bytes(32)), "y": encode(bytes(32))}, None),
        ({**P256, "x": encode(b"\xff" * 32)}, None),
        ({**P256, "x": 1}, None),
        ({"kty": "EC", "crv": "P-256", "x": P256["x"]}, None),
        ({**ED, "crv": "X25519"}, None),
        ({**ED, "crv": "Ed448"}, None),
        ({**ED, "alg": "ES256"}, None),
        ({**ED, "x": encode(bytes(31))}, None),
        ({**ED, "x": encode(bytes(32))}, None),
        ({**ED, "x": encode(b"\x01" + bytes(31))}, None),
        ({**ED, "x": encode(b"\x02" + bytes(31))}, None),
        ({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, None),
    ],
)
def test_a_key_is_for_the_algorithms_on_which_all_its_members_agree(jwk: Json, algorithms: set[str] | None) -> None:
    key = key_of(jwk)
    assert (None if key is None else set(key.algorithms)) == algorithms


def test_a_key_of_our_own_issuer_is_for_rs256_alone() -> None:
    document = json.dumps(
        {"keys": [RSA, {**P256, "kid": "b"}, {**ED, "kid": "c"}, {**RSA, "alg": "PS256", "kid": "d"}]}
    )
    own = parse_jwks(document.encode())
    assert {kid: set(key.algorithms) for kid, key in own.keys.items()} == {"key-1": {"RS256"}}
    assert own.skipped == {"not an RSA key": 2, "for another algorithm": 1}


def test_keys_that_cannot_be_used_are_skipped_and_counted() -> None:
    odd = [
        {**P256, "crv": "P-521", "kid": "a"},
        {**P384, "kid": "b", "use": "enc"},
        {"kty": "AKP"},
        1,
        {**ED, "x": "!"},
    ]
    skipped = parse_jwks(json.dumps({"keys": [{**P256, "kid": "valid"}, *odd]}).encode(), EVERY)
    assert set(skipped.keys) == {"valid"}
    assert sum(skipped.skipped.values()) == len(odd)


def test_one_name_for_keys_of_two_types_names_neither() -> None:
    document = json.dumps({"keys": [{**P256, "kid": "k"}, {**RSA, "kid": "k"}, {**ED, "kid": "valid"}]}).encode()
    assert set(parse_jwks(document, EVERY).keys) == {"valid"}


# The points of order 1, 2, 4 and 8 (RFC 8032 §5.1), and encodings of them with y ≥ p.
SMALL_ORDER: Final = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_a_point_of_small_order_is_no_key(encoded: str) -> None:
    assert not is_trustworthy_point(bytes.fromhex(encoded))


def test_keys_of_the_library_are_points_and_half_of_all_numbers_are_not() -> None:
    assert all(is_trustworthy_point(decode(signing_key("EdDSA", str(n)).jwk()["x"])) for n in range(8))
    points = [is_trustworthy_point(n.to_bytes(32, "little")) for n in range(2, 258)]
    assert 90 < sum(points) < 166


@pytest.mark.parametrize("order", [1, -1])
def test_a_key_with_an_entry_for_each_of_its_algorithms_is_for_all_of_them(order: int) -> None:
    entries = [{**RSA, "alg": name} for name in ("RS256", "PS256", "RS512")][::order]
    document = json.dumps({"keys": entries}).encode()
    both = parse_jwks(document, EVERY)
    assert {kid: set(key.algorithms) for kid, key in both.keys.items()} == {"key-1": {"RS256", "PS256"}}
    assert both.skipped == {"for another algorithm": 1}
    assert parse_jwks(document).keys["key-1"].algorithms == {"RS256"}


def test_a_kid_of_two_keys_names_none_whatever_their_algorithms() -> None:
    another = signing_key("PS256", "another").jwk(kid="key-1")
    document = json.dumps({"keys": [{**RSA, "alg": "RS256"}, another, {**RSA, "alg": "PS256"}, {**P256, "kid": "b"}]})
    read = parse_jwks(document.encode(), EVERY)
    assert (list(read.keys), read.skipped) == (["b"], {"kid names two keys": 1})
