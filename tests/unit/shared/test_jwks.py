"""Key sets follow RFC 7517 and RFC 7638; errors do not quote them."""

import json
from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from shared.jwks import MAX_DOCUMENT_BYTES, JwksError, format_jwks, parse_jwks, thumbprint, to_jwk
from tests.support.vector_keys import GOOD, PRIVATE, public, rsa_key

# RFC 7638 §3.1
_RFC_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn6"
    "4tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n9"
    "1CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    n = int.from_bytes(urlsafe_b64decode(_RFC_N + "=="), "big")
    assert thumbprint(RSAPublicNumbers(65537, n).public_key()) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_key_set_reads_back_and_is_public() -> None:
    keys = [rsa_key(name).public_key() for name in ("issuer", "other")]
    written = format_jwks(keys)
    assert {kid: key.rsa for kid, key in parse_jwks(written).keys.items()} == {thumbprint(key): key for key in keys}
    assert all(set(jwk) == {"kty", "n", "e", "kid", "use", "alg"} for jwk in json.loads(written)["keys"])
    assert to_jwk(keys[0])["kid"] == GOOD.kid


def test_skipped_keys_are_counted_by_reason() -> None:
    document = {
        "keys": [
            public("issuer"),
            public("p-256", kid="a"),
            public("ed25519", kid="b"),
            public("unpublished-key", use="enc"),
        ]
    }
    assert parse_jwks(json.dumps(document).encode()).skipped == {"not an RSA key": 2, "not for signatures": 1}


def test_a_key_set_without_a_usable_key_names_the_reasons() -> None:
    document = json.dumps({"keys": [public("p-256", kid="a"), public("short-1024")]}).encode()
    with pytest.raises(JwksError, match=r"no usable RS256 key \(1 not an RSA key, 1 modulus not odd or not of 2048"):
        parse_jwks(document)


def test_the_size_of_a_document_is_bounded_to_the_byte() -> None:
    document = format_jwks([GOOD.key.public_key()])
    assert parse_jwks(document.ljust(MAX_DOCUMENT_BYTES)).keys
    with pytest.raises(JwksError, match="larger than"):
        parse_jwks(document.ljust(MAX_DOCUMENT_BYTES + 1))


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"])
def test_any_private_member_makes_the_key_set_unusable(member: str) -> None:
    document = json.dumps({"keys": [public("issuer"), {**public("other"), member: ""}]}).encode()
    with pytest.raises(JwksError, match="private or symmetric"):
        parse_jwks(document)


def test_an_error_never_quotes_a_leaked_private_key() -> None:
    document = json.dumps({"keys": [{**public("issuer"), "d": PRIVATE["issuer"]["d"]}]}).encode()
    with pytest.raises(JwksError) as error:
        parse_jwks(document)
    assert PRIVATE["issuer"]["d"] not in str(error.value)
    assert "private or symmetric" in str(error.value)


def test_an_ambiguous_key_set_is_rejected() -> None:
    with pytest.raises(JwksError, match="duplicate member"):
        parse_jwks(b'{"keys":[],"keys":[]}')
