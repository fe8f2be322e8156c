"""Password hashes of other systems: bcrypt, PBKDF2 and scrypt.

    $2b$12$<22 salt><31 digest>                     bcrypt, also $2a$ and $2y$; cost 4 to 14
    $pbkdf2-sha256$29000$<salt>$<digest>            passlib; also i=29000[,l=32]; also sha512
    pbkdf2_sha256$600000$<salt>$<digest>            Django; also sha512
    $scrypt$ln=16,r=8,p=1$<salt>$<digest>           N up to 2^17, r up to 16, p up to 4

A stored hash states its own cost, so every parameter has a bound: one malicious row must not exhaust the machine.
A hash is computed exactly as the other system does. ADR 0048.
"""

import binascii
import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable
from typing import Final

import bcrypt  # noqa: TID251 - the one place for it

MAX_CHARACTERS: Final = 512
MIN_CHARACTERS: Final = 20
"""The minimum of the column in the `users` table."""

_MIN_BCRYPT_COST: Final = 4
_MAX_BCRYPT_COST: Final = 14
_MAX_PBKDF2_ITERATIONS: Final = 2_000_000
_MAX_SCRYPT_LOG_N: Final = 17
_MAX_SCRYPT_R: Final = 16
_MAX_SCRYPT_P: Final = 4
_MAX_SALT_BYTES: Final = 64
_DIGEST_BYTES: Final = range(16, 65)
_BCRYPT_READS_BYTES: Final = 72

# The last of the 22 characters for 16 bytes of salt has four unused bits, which bcrypt never sets.
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_PASSLIB_PBKDF2: Final = re.compile(
    r"\$pbkdf2-(sha256|sha512)\$(?:i=)?([1-9]\d{0,6})(?:,l=\d{1,3})?\$([A-Za-z0-9./+]*)\$([A-Za-z0-9./+]+)"
)
_DJANGO_PBKDF2: Final = re.compile(r"pbkdf2_(sha256|sha512)\$([1-9]\d{0,6})\$([^$]{1,64})\$([A-Za-z0-9+/]+=*)")
_SCRYPT: Final = re.compile(
    r"\$scrypt\$ln=([1-9]\d?),r=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9./+]*)\$([A-Za-z0-9./+]+)"
)


class UnusableHashError(ValueError):
    """The hash cannot be used. The message has the reason and never quotes the hash."""


ForeignHash = Callable[[bytes], bool]
"""A parsed hash: a function that returns whether a secret matches. Its repr shows nothing of the hash."""


def read_foreign_hash(text: str) -> ForeignHash:
    """Parse a hash that is not argon2.

    Raises:
        UnusableHashError: it is malformed, of an unknown kind, or beyond the bounds.
    """
    if not MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS or not text.isascii():
        raise UnusableHashError("is not a password hash")
    if found := _BCRYPT.fullmatch(text):
        return _bcrypt(text.encode(), int(found[1]))
    if found := _PASSLIB_PBKDF2.fullmatch(text):
        return _pbkdf2(found[1], int(found[2]), _bytes(found[3]), _bytes(found[4]))
    if found := _DJANGO_PBKDF2.fullmatch(text):
        return _pbkdf2(found[1], int(found[2]), found[3].encode(), _bytes(found[4].rstrip("=")))
    if found := _SCRYPT.fullmatch(text):
        return _scrypt(int(found[1]), int(found[2]), int(found[3]), _bytes(found[4]), _bytes(found[5]))
    raise UnusableHashError("is malformed or of an unknown kind")


def _bcrypt(encoded: bytes, cost: int) -> ForeignHash:
    """Return a bcrypt hash, which covers the first 72 bytes of a password."""
    _require(_MIN_BCRYPT_COST <= cost <= _MAX_BCRYPT_COST)
    return lambda secret: bcrypt.checkpw(secret[:_BCRYPT_READS_BYTES], encoded)


def _pbkdf2(algorithm: str, iterations: int, salt: bytes, digest: bytes) -> ForeignHash:
    """Return a PBKDF2 hash (RFC 8018 §5.2)."""
    _require(iterations <= _MAX_PBKDF2_ITERATIONS and len(salt) <= _MAX_SALT_BYTES and len(digest) in _DIGEST_BYTES)

    def matches(secret: bytes) -> bool:
        found = hashlib.pbkdf2_hmac(algorithm, secret, salt, iterations, len(digest))
        return hmac.compare_digest(found, digest)

    return matches


def _scrypt(log_n: int, r: int, p: int, salt: bytes, digest: bytes) -> ForeignHash:
    """Return a scrypt hash (RFC 7914)."""
    # RFC 7914 §2: N is less than 2^(128 * r / 8).
    _require(log_n <= min(_MAX_SCRYPT_LOG_N, 16 * r - 1) and r <= _MAX_SCRYPT_R and p <= _MAX_SCRYPT_P)
    _require(len(salt) <= _MAX_SALT_BYTES and len(digest) in _DIGEST_BYTES)
    n = 1 << log_n
    memory = 128 * r * (n + p + 2)

    def matches(secret: bytes) -> bool:
        found = hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=len(digest))
        return hmac.compare_digest(found, digest)

    return matches


def _require(within: bool) -> None:  # noqa: FBT001 - the callers pass a comparison
    if not within:
        raise UnusableHashError("is beyond the bounds of what is computed")


def _bytes(text: str) -> bytes:
    """Decode base64 without padding; passlib writes `.` for `+`."""
    try:
        return b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise UnusableHashError("is malformed") from None
