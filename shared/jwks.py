"""Public RSA keys as a JWK Set (RFC 7517, RFC 7518 §6.3) and their thumbprints (RFC 7638).

Reading is for documents from outside: entries that are of no use to us are skipped and counted, a document
that carries private or symmetric material is rejected as a whole, since its publisher has a worse problem
than one bad entry. Nothing here can read or write a private key.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from shared import base64url
from shared.access_token import ALGORITHM, MIN_KEY_BITS
from shared.strict_json import StrictJsonError, parse_object

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 256
MAX_KEY_BITS: Final = 8192
MAX_KID_CHARACTERS: Final = 256
_EXPONENTS: Final = range(3, 2**32, 2)
_SECRET_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})


class JwksError(ValueError):
    """The document must not be used. The message says why and never quotes key material."""


class _Unusable(ValueError):  # noqa: N818 - a reason to skip one entry, never seen outside
    pass


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One RS256 verification key and the name tokens call it by."""

    kid: str
    rsa: RSAPublicKey


@dataclass(frozen=True, slots=True)
class JwkSet:
    """The keys of a document.

    Attributes:
        keys: usable RS256 keys by `kid`, at least one.
        skipped: why the other entries were passed over, with counts, for the log.
    """

    keys: dict[str, PublicKey]
    skipped: dict[str, int]


def parse_jwks(document: bytes) -> JwkSet:
    """Read a JWK Set from outside.

    Raises:
        JwksError: too large, not strict JSON, private or symmetric members, or without one usable key.
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
    if any(_is_secret(entry) for entry in entries):
        raise JwksError("private or symmetric key material: publish only public keys, replace the leaked ones")
    keys, skipped = _usable(entries)
    if not keys:
        raise JwksError("no usable RS256 key" + (f" ({_tally(skipped)})" if skipped else ""))
    return JwkSet(keys, skipped)


def format_jwks(keys: Iterable[RSAPublicKey]) -> bytes:
    """The JWK Set of `keys` as UTF-8 JSON, each named by its thumbprint."""
    return json.dumps({"keys": [to_jwk(key) for key in keys]}, separators=(",", ":")).encode()


def to_jwk(key: RSAPublicKey) -> dict[str, str]:
    """`key` as a public JWK with `kid`, `use` and `alg` (RFC 7517 §4)."""
    return {**_required_members(key), "kid": thumbprint(key), "use": "sig", "alg": ALGORITHM}


def thumbprint(key: RSAPublicKey) -> str:
    """The RFC 7638 SHA-256 thumbprint, base64url without padding."""
    canonical = json.dumps(_required_members(key), separators=(",", ":"), sort_keys=True)
    return base64url.encode(hashlib.sha256(canonical.encode()).digest())


def _required_members(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {"e": _encode_integer(numbers.e), "kty": "RSA", "n": _encode_integer(numbers.n)}


def _encode_integer(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _is_secret(entry: Any) -> bool:
    return isinstance(entry, dict) and (entry.get("kty") == "oct" or not _SECRET_MEMBERS.isdisjoint(entry))


def _usable(entries: list[Any]) -> tuple[dict[str, PublicKey], dict[str, int]]:
    keys: dict[str, PublicKey] = {}
    skipped: Counter[str] = Counter()
    ambiguous: set[str] = set()
    for entry in entries:
        try:
            key = _parse_key(entry)
        except _Unusable as why:
            skipped[str(why)] += 1
            continue
        known = keys.setdefault(key.kid, key)
        if known.rsa.public_numbers() != key.rsa.public_numbers():
            ambiguous.add(key.kid)
    # One name for two keys has two readings: neither is taken.
    for kid in ambiguous:
        skipped["kid names two keys"] += 1
        del keys[kid]
    return keys, dict(skipped)


def _parse_key(entry: Any) -> PublicKey:
    if not isinstance(entry, dict):
        raise _Unusable("not an object")
    if entry.get("kty") != "RSA":
        raise _Unusable("not an RSA key")
    if entry.get("alg", ALGORITHM) != ALGORITHM:
        raise _Unusable("for another algorithm")
    if entry.get("use", "sig") != "sig" or not _may_verify(entry.get("key_ops", ["verify"])):
        raise _Unusable("not for signatures")
    kid = entry.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID_CHARACTERS:
        raise _Unusable("without a usable kid")
    return PublicKey(kid, _rsa_key(_decode_integer(entry.get("n")), _decode_integer(entry.get("e"))))


def _may_verify(operations: Any) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _rsa_key(n: int, e: int) -> RSAPublicKey:
    if not MIN_KEY_BITS <= n.bit_length() <= MAX_KEY_BITS or n % 2 == 0:
        raise _Unusable(f"modulus not odd or not of {MIN_KEY_BITS} to {MAX_KEY_BITS} bits")
    if e not in _EXPONENTS:
        raise _Unusable("degenerate exponent")
    try:
        return RSAPublicNumbers(e, n).public_key()
    except ValueError as error:
        raise _Unusable("refused by the cryptographic library") from error


def _decode_integer(value: Any) -> int:
    """Read a Base64urlUInt (RFC 7518 §2)."""
    if not isinstance(value, str):
        raise _Unusable("malformed number")
    try:
        return int.from_bytes(base64url.decode(value), "big")
    except ValueError as error:
        raise _Unusable("malformed number") from error


def _tally(skipped: dict[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in skipped.items())
