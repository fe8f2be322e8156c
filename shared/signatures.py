"""The signature algorithms of JWS that a verifier can accept (RFC 7518 §3.1, RFC 8037), and the types of their keys.

The caller chooses the algorithm: one that the issuer's profile lists and that is the key's own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

PublicKeyMaterial = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class KeyType(NamedTuple):
    """The type of a JSON Web Key: `kty`, and `crv` where that type has curves (RFC 7518 §6.1, RFC 8037 §2)."""

    kty: str
    crv: str | None


_PKCS1V15: Final = PKCS1v15()
_SHA256: Final = SHA256()
# RFC 7518 §3.5: the salt is as long as the hash, and MGF1 uses the same hash.
_PSS_SHA256: Final = PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH)
_ECDSA_SHA256: Final = ECDSA(SHA256())
_ECDSA_SHA384: Final = ECDSA(SHA384())


def is_signed(algorithm: str, key: Any, signature: bytes, signing_input: bytes) -> bool:
    """Verify a signature.

    Args:
        algorithm: one of `KEY_TYPES`.
        key: public, of the type that `KEY_TYPES` names for the algorithm.
        signature: in the form of RFC 7515: for ECDSA the two integers r and s, one after the other.
        signing_input: the bytes that were signed.
    """
    try:
        return _VERIFIERS[algorithm](key, signature, signing_input)
    except InvalidSignature:
        return False


def _rs256(key: RSAPublicKey, signature: bytes, data: bytes) -> bool:
    """Verify RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3)."""
    key.verify(signature, data, _PKCS1V15, _SHA256)
    return True


def _ps256(key: RSAPublicKey, signature: bytes, data: bytes) -> bool:
    """Verify RSASSA-PSS with SHA-256 (RFC 7518 §3.5)."""
    key.verify(signature, data, _PSS_SHA256, _SHA256)
    return True


def _ecdsa(size: int, algorithm: ECDSA) -> Callable[[EllipticCurvePublicKey, bytes, bytes], bool]:
    """Return a function that verifies ECDSA (RFC 7518 §3.4): `size` bytes of r, then of s. DER has another length."""

    def verify(key: EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), data, algorithm)
        return True

    return verify


def _eddsa(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    """Verify Ed25519 (RFC 8037 §3.1). The library rejects a signature that does not have 64 bytes."""
    key.verify(signature, data)
    return True


_VERIFIERS: Final[Mapping[str, Callable[[Any, bytes, bytes], bool]]] = {
    "RS256": _rs256,
    "PS256": _ps256,
    "ES256": _ecdsa(32, _ECDSA_SHA256),
    "ES384": _ecdsa(48, _ECDSA_SHA384),
    "EdDSA": _eddsa,
}

KEY_TYPES: Final[Mapping[str, KeyType]] = {
    "RS256": KeyType("RSA", None),
    "PS256": KeyType("RSA", None),
    "ES256": KeyType("EC", "P-256"),
    "ES384": KeyType("EC", "P-384"),
    "EdDSA": KeyType("OKP", "Ed25519"),
}
"""The type of the keys of each algorithm. No other algorithm is accepted."""
