"""Public keys as a JWK Set (RFC 7517, RFC 7518 §6, RFC 8037 §2) and their thumbprints (RFC 7638).

Documents are untrusted: unusable entries are skipped and counted, and a document with private or symmetric key
material is rejected as a whole, since its publisher has leaked a key. This module cannot read or write private keys.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from shared import base64url
from shared.access_token import ALGORITHM, MIN_KEY_BITS
from shared.ed25519 import is_trustworthy_point
from shared.signatures import KEY_TYPES, PublicKeyMaterial
from shared.strict_json import StrictJsonError, parse_object

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 256
MAX_KEY_BITS: Final = 8192
MAX_KID_CHARACTERS: Final = 256
OWN_ALGORITHMS: Final = frozenset({ALGORITHM})
"""The algorithms of the keys of our own issuer."""
_EXPONENTS: Final = range(3, 2**32, 2)
_CURVES: Final = {"P-256": SECP256R1(), "P-384": SECP384R1()}
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})


class JwksError(ValueError):
    """The document must not be used. The message has the reason and never quotes key material."""


class UnusableKeyError(JwksError):
    """One key must not be used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verification key.

    Attributes:
        algorithms: the `alg` of its entry; without `alg` all requested algorithms for this type of key. Several
            entries of one key with one `kid` add up.
    """

    kid: str
    material: PublicKeyMaterial
    algorithms: frozenset[str]

    @property
    def rsa(self) -> RSAPublicKey:
        """The key as an RSA key, as all keys of our own issuer are.

        Raises:
            TypeError: it is another type of key.
        """
        if not isinstance(self.material, RSAPublicKey):
            raise TypeError("not an RSA key")
        return self.material


@dataclass(frozen=True, slots=True)
class JwkSet:
    """The keys of a document.

    Attributes:
        keys: usable keys by `kid`, at least one.
        skipped: the reasons for which other entries were skipped, with counts, for the log.
    """

    keys: dict[str, PublicKey]
    skipped: dict[str, int]


def parse_jwks(document: bytes, algorithms: AbstractSet[str] = OWN_ALGORITHMS) -> JwkSet:
    """Parse an untrusted JWK Set.

    Args:
        document: any bytes.
        algorithms: some of `shared.signatures.KEY_TYPES`. Keys for other algorithms are skipped.

    Raises:
        JwksError: it is too large, not strict JSON, has private or symmetric members, or no usable key.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise JwksError(f"larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        entries = parse_object(document).get("keys")
    except StrictJsonError as error:
        raise JwksError(str(error)) from error
    if not isinstance(entries, list):
        raise JwksError('no "keys" array (RFC 7517 §5)')
    if len(entries) > MAX_KEYS:
        raise JwksError(f"more than {MAX_KEYS} keys")
    if any(has_secret(entry) for entry in entries):
        raise JwksError("private or symmetric key material: publish only public keys, replace the leaked ones")
    keys, skipped = _usable(entries, algorithms)
    if not keys:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise JwksError(f"no usable {', '.join(sorted(algorithms))} key" + (f" ({reasons})" if skipped else ""))
    return JwkSet(keys, skipped)


def format_jwks(keys: Iterable[RSAPublicKey]) -> bytes:
    """Return the JWK Set of `keys` as UTF-8 JSON, each named by its thumbprint."""
    return json.dumps({"keys": [to_jwk(key) for key in keys]}, separators=(",", ":")).encode()


def to_jwk(key: RSAPublicKey) -> dict[str, str]:
    """Return `key` as a public JWK with `kid`, `use` and `alg` (RFC 7517 §4)."""
    return {**_thumbprint_members(key), "kid": thumbprint(key), "use": "sig", "alg": ALGORITHM}


def thumbprint(key: RSAPublicKey) -> str:
    """Return the RFC 7638 SHA-256 thumbprint, base64url without padding."""
    canonical = json.dumps(_thumbprint_members(key), separators=(",", ":"), sort_keys=True)
    return base64url.encode(hashlib.sha256(canonical.encode()).digest())


def _thumbprint_members(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {"e": _encode_integer(numbers.e), "kty": "RSA", "n": _encode_integer(numbers.n)}


def _encode_integer(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def has_secret(entry: Any) -> bool:
    """Return whether an entry has private or symmetric key material."""
    return isinstance(entry, dict) and (entry.get("kty") == "oct" or not _SECRET_MEMBERS.isdisjoint(entry))


def _usable(entries: list[Any], algorithms: AbstractSet[str]) -> tuple[dict[str, PublicKey], dict[str, int]]:
    keys: dict[str, PublicKey] = {}
    skipped: Counter[str] = Counter()
    ambiguous: set[str] = set()
    for entry in entries:
        try:
            key = parse_key(entry, algorithms)
        except UnusableKeyError as reason:
            skipped[str(reason)] += 1
            continue
        known = keys.setdefault(key.kid, key)
        if known.material != key.material:
            ambiguous.add(key.kid)
        elif known.algorithms != key.algorithms:
            # `alg` names one algorithm, so some issuers publish a key once for each (RFC 7517 §4.4, §4.5).
            keys[key.kid] = replace(known, algorithms=known.algorithms | key.algorithms)
    # A kid of two keys is ambiguous, so neither is used.
    for kid in ambiguous:
        skipped["kid names two keys"] += 1
        del keys[kid]
    return keys, dict(skipped)


def parse_key(entry: Any, usable: AbstractSet[str] = OWN_ALGORITHMS) -> PublicKey:
    """Parse one entry of a JWK Set.

    Raises:
        UnusableKeyError: it is malformed, weak or private, or not for signatures by one of the algorithms `usable`.
    """
    if not isinstance(entry, dict):
        raise UnusableKeyError("not an object")
    if has_secret(entry):
        raise UnusableKeyError("private or symmetric")
    algorithms = _algorithms_of(entry) & usable
    if not algorithms:
        raise UnusableKeyError("not an RSA key" if usable == OWN_ALGORITHMS else "of another type")
    if "alg" in entry:
        algorithms = frozenset(name for name in algorithms if name == entry["alg"])
    if not algorithms:
        raise UnusableKeyError("for another algorithm")
    operations = entry.get("key_ops", ["verify"])
    if entry.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise UnusableKeyError("not for signatures")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        raise UnusableKeyError("without a usable kid")
    return PublicKey(kid, _material(entry), algorithms)


def _algorithms_of(entry: dict[str, Any]) -> frozenset[str]:
    """Return the algorithms of this type of key. An RSA key has no `crv` (RFC 7518 §6.3), so it is ignored there."""
    kty, crv = entry.get("kty"), None if entry.get("kty") == "RSA" else entry.get("crv")
    return frozenset(name for name, needed in KEY_TYPES.items() if needed == (kty, crv))


def _material(entry: dict[str, Any]) -> PublicKeyMaterial:
    match entry["kty"]:
        case "RSA":
            return _rsa_key(_decode_integer(entry.get("n")), _decode_integer(entry.get("e")))
        case "EC":
            return _elliptic_key(entry["crv"], _decode(entry.get("x")), _decode(entry.get("y")))
        case _:
            return _ed25519_key(_decode(entry.get("x")))


def _rsa_key(n: int, e: int) -> RSAPublicKey:
    if not MIN_KEY_BITS <= n.bit_length() <= MAX_KEY_BITS or n % 2 == 0:
        raise UnusableKeyError(f"modulus not odd or not of {MIN_KEY_BITS} to {MAX_KEY_BITS} bits")
    if e not in _EXPONENTS:
        raise UnusableKeyError("degenerate exponent")
    try:
        return RSAPublicNumbers(e, n).public_key()
    except ValueError as error:
        raise UnusableKeyError("rejected by the cryptographic library") from error


def _elliptic_key(crv: str, x: bytes, y: bytes) -> PublicKeyMaterial:
    curve = _CURVES[crv]
    if not len(x) == len(y) == (curve.key_size + 7) // 8:
        raise UnusableKeyError("coordinate of another length")  # RFC 7518 §6.2.1.2
    try:
        return EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve).public_key()
    except ValueError as error:
        raise UnusableKeyError("not a point of its curve") from error


def _ed25519_key(x: bytes) -> PublicKeyMaterial:
    if not is_trustworthy_point(x):
        raise UnusableKeyError("not a point of its curve")
    return Ed25519PublicKey.from_public_bytes(x)


def _decode_integer(value: Any) -> int:
    """Read a Base64urlUInt (RFC 7518 §2)."""
    return int.from_bytes(_decode(value), "big")


def _decode(value: Any) -> bytes:
    if not isinstance(value, str):
        raise UnusableKeyError("malformed number")
    try:
        return base64url.decode(value)
    except ValueError as error:
        raise UnusableKeyError("malformed number") from error
