"""The signature algorithms of JWS that a verifier can accept (RFC 7518 §3.1, RFC 8037), and the types of their keys.

The caller chooses the algorithm: one that the issuer's profile lists and that is the key's own.
"""

from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

PublicKeyMaterial = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

KEY_TYPES: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""`kty` of the keys of each algorithm, and `crv` if that type has curves. No other algorithm is accepted."""

_PKCS1V15: Final = PKCS1v15()
_SHA256: Final = SHA256()
# RFC 7518 §3.5: the salt is as long as the hash, and MGF1 uses the same hash.
_PSS_SHA256: Final = PSS(MGF1(SHA256()), PSS.DIGEST_LENGTH)
_ECDSA_SHA256: Final = ECDSA(SHA256())
_ECDSA_SHA384: Final = ECDSA(SHA384())


def is_signed(algorithm: str, key: Any, signature: bytes, signing_input: bytes) -> bool:
    """Return whether the private key of `key` made `signature` over `signing_input`.

    Args:
        algorithm: one of `KEY_TYPES`.
        key: public, of the type that `KEY_TYPES` names for the algorithm.
        signature: in the form of RFC 7515: for ECDSA the two integers r and s, one after the other.
        signing_input: the bytes that were signed.
    """
    try:
        match algorithm:
            case "RS256":  # RFC 7518 §3.3
                key.verify(signature, signing_input, _PKCS1V15, _SHA256)
            case "PS256":  # §3.5
                key.verify(signature, signing_input, _PSS_SHA256, _SHA256)
            case "ES256":  # §3.4
                key.verify(_to_der(signature, 32), signing_input, _ECDSA_SHA256)
            case "ES384":
                key.verify(_to_der(signature, 48), signing_input, _ECDSA_SHA384)
            case "EdDSA":  # RFC 8037 §3.1. The library rejects a signature that does not have 64 bytes.
                key.verify(signature, signing_input)
            case _:
                return False
    except InvalidSignature:
        return False
    return True


def _to_der(signature: bytes, size: int) -> bytes:
    """Return r and s, of `size` bytes each, in DER, as the library needs them. Reject a signature in DER itself."""
    if len(signature) != 2 * size:
        raise InvalidSignature
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))
