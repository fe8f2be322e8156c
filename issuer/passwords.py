"""The only door to argon2: hashing and verifying passwords, each as one admitted computation.

Knows nothing of accounts: "no such account" arrives here as no stored hash, and costs the same.
"""

import os
import unicodedata
from dataclasses import dataclass
from typing import Final

import structlog
from argon2 import (  # noqa: TID251 - this is that door
    Parameters,
    PasswordHasher,
    Type,
    extract_parameters,
)
from argon2.exceptions import (  # noqa: TID251 - this is that door
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)

from issuer.admission import Admission
from issuer.metrics import Metrics

ARGON2ID_OWASP: Final = Parameters(
    type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=2, memory_cost=19456, parallelism=1
)
"""OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane."""

_MAX_STORED: Final = Parameters(
    type=Type.ID, version=19, salt_len=64, hash_len=64, time_cost=10, memory_cost=256 * 1024, parallelism=8
)
"""A stored hash names its own cost: without a bound, one planted row (m=2 GiB) takes the machine down."""

_MAX_STORED_CHARACTERS: Final = 512

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes:
        matches: the password is the one that was hashed.
        outdated: it was hashed at less cost than we ask for today; only ever said of a match.
    """

    matches: bool
    outdated: bool


class Passwords:
    """Hashes and verifies at one cost, in the threads of `admission`.

    Costs one argon2 computation to construct: the decoy that unknown accounts are verified against.
    """

    def __init__(self, admission: Admission, metrics: Metrics, parameters: Parameters = ARGON2ID_OWASP) -> None:
        self._admission = admission
        self._computations = metrics.argon2_computations
        self._parameters = parameters
        self._hasher = PasswordHasher.from_parameters(parameters)
        self._decoy = self._hasher.hash(os.urandom(32))

    async def hash(self, password: str) -> str:
        """A new encoded hash of `password` (NFC).

        Raises:
            OverloadedError: too much is waiting already.
        """
        secret = _normal_form(password)
        return await self._admission.run(lambda: self._hash(secret))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Compare `password` (NFC) with a stored hash by exactly one argon2 computation.

        Args:
            stored: the encoded hash, or None where there is no account: then the answer is no, at the
                same cost (a quick no would tell who has an account). So for a hash we must not compute.
            password: as the person gave it.

        Raises:
            OverloadedError: too much is waiting already.
        """
        secret = _normal_form(password)
        usable = stored is not None and self._is_bounded(stored)
        encoded = stored if stored is not None and usable else self._decoy
        matches = await self._admission.run(lambda: self._matches(encoded, secret))
        return Verdict(matches and usable, matches and usable and self._is_outdated(encoded))

    def _hash(self, secret: bytes) -> str:
        self._computations.inc()
        return self._hasher.hash(secret)

    def _matches(self, encoded: str, secret: bytes) -> bool:
        self._computations.inc()
        try:
            return self._hasher.verify(encoded, secret)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            _log.error("stored password hash cannot be computed")
            return False

    def _is_bounded(self, stored: str) -> bool:
        try:
            found = extract_parameters(stored if len(stored) <= _MAX_STORED_CHARACTERS else "")
        except InvalidHashError:
            found = None
        within = found is not None and found.type is Type.ID and _no_more_than(found, _MAX_STORED)
        if not within:
            _log.error("stored password hash is malformed or beyond the bounds")
        return within

    def _is_outdated(self, encoded: str) -> bool:
        """Upgrade only: lowering the cost in a release must not weaken what is stored."""
        found = extract_parameters(encoded)
        return _no_more_than(found, self._parameters) and found != self._parameters


def _normal_form(password: str) -> bytes:
    """NFC, so that one password typed on two keyboards is one (NIST SP 800-63B-4 §3.1.1.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8")


def _no_more_than(found: Parameters, bound: Parameters) -> bool:
    names = ("version", "salt_len", "hash_len", "time_cost", "memory_cost", "parallelism")
    return all(getattr(found, name) <= getattr(bound, name) for name in names)
