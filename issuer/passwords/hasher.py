"""Password hashing and verification with argon2, one computation each, in the hash queue.

This module does not depend on accounts: a login without an account passes no stored hash, and costs the same. A hash
of another kind is verified by its own algorithm, and one argon2 hash is computed as well: the replacement if the
password matches, otherwise a decoy.
"""

import os
import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog
from argon2 import (  # noqa: TID251 - the one place for it
    Parameters,
    Type,
    extract_parameters,
)
from argon2 import PasswordHasher as Argon2Hasher  # noqa: TID251 - the one place for it
from argon2.exceptions import (  # noqa: TID251 - the one place for it
    InvalidHashError,
    VerificationError,
    VerifyMismatchError,
)

from issuer.passwords.foreign_hashes import MAX_CHARACTERS, ForeignHash, UnusableHashError, read_foreign_hash
from issuer.passwords.hash_queue import PasswordHashQueue, QueueClient
from issuer.telemetry.metrics import Metrics
from issuer.telemetry.tracing import UNTRACED, Tracing

T = TypeVar("T")


def _argon2id(memory_kib: int, passes: int) -> Parameters:
    return Parameters(
        type=Type.ID,
        version=19,
        salt_len=16,
        hash_len=32,
        time_cost=passes,
        memory_cost=memory_kib,
        parallelism=1,
    )


ARGON2_COSTS: Final[Mapping[int, Parameters]] = {
    46: _argon2id(47104, 1),
    19: _argon2id(19456, 2),
    12: _argon2id(12288, 3),
    9: _argon2id(9216, 4),
    7: _argon2id(7168, 5),
}
"""The parameter sets of equal strength in OWASP's Password Storage Cheat Sheet, by the memory of each hash in MiB."""

DEFAULT_PARAMETERS: Final = ARGON2_COSTS[19]

_MAX_STORED: Final = Parameters(
    type=Type.ID, version=19, salt_len=64, hash_len=64, time_cost=10, memory_cost=256 * 1024, parallelism=8
)
"""A stored hash states its own cost: without a bound, one malicious row (m=2 GiB) would exhaust the machine."""

_LEAST_STORED: Final = Parameters(
    type=Type.ID, version=16, salt_len=8, hash_len=12, time_cost=1, memory_cost=8, parallelism=1
)
"""Less is not valid argon2 (RFC 9106 §3.1). It would fail at once, and the fast response would reveal the account."""

_ARGON2: Final = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=[1-9]\d)?\$m=[1-9]\d{0,6},t=[1-9]\d{0,2},p=[1-9]\d{0,2}"
    r"\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)",
    re.ASCII,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """The result of a verification.

    Attributes:
        matches: whether the password is the one that was hashed.
        outdated: whether it matches and was hashed at less than the current cost.
        replacement: the argon2 hash to store instead of a matching hash of another kind.
    """

    matches: bool
    outdated: bool
    replacement: str | None = field(default=None, repr=False)


class PasswordHasher:
    """The hashing of passwords at one cost, in the threads of `hash_queue`.

    The constructor computes one hash: the decoy for logins without an account.
    """

    def __init__(
        self,
        hash_queue: PasswordHashQueue,
        metrics: Metrics,
        parameters: Parameters = DEFAULT_PARAMETERS,
        tracing: Tracing = UNTRACED,
    ) -> None:
        self._hash_queue = hash_queue
        self._computations = metrics.argon2_computations
        self._parameters = parameters
        self._tracing = tracing
        self._hasher = Argon2Hasher.from_parameters(parameters)
        self._decoy = self._hasher.hash(os.urandom(32))

    async def calibrate(self) -> float:
        """Measure the duration of a hash in seconds. Call it before the first request."""
        return await self._hash_queue.calibrate(self.measure)

    def check_capacity(self, client: QueueClient) -> None:
        """Check that a hash for `client` would start in time. Call it before other work is done for the request.

        Raises:
            OverloadedError: the hash would start too late.
        """
        self._hash_queue.check_capacity(client)

    async def hash(self, password: str, client: QueueClient) -> str:
        """Return a new encoded hash of `password` (NFC).

        Raises:
            OverloadedError: the hash would start too late.
        """
        secret = _normal_form(password)
        return await self._run(lambda: self._hash(secret), client)

    async def verify(self, stored: str | None, password: str, client: QueueClient) -> PasswordCheck:
        """Compare `password` (NFC) with a stored hash by exactly one argon2 computation.

        Args:
            stored: the encoded hash; None if there is no account. Then the password does not match, at the same cost,
                because a faster response would reveal which accounts exist. A hash beyond the bounds counts as None.
            password: as the user typed it.
            client: of the request.

        Raises:
            OverloadedError: the hash would start too late.
        """
        found = _usable_hash(stored)
        return await self._run(lambda: self._compare(found, password), client)

    def measure(self) -> None:
        """Compute one hash in the calling thread. It is not counted."""
        self._hasher.hash(b"a password to measure with")

    async def _run(self, work: Callable[[], T], client: QueueClient) -> T:
        """Run `work` in a span that covers the wait in the queue and the hash."""
        with self._tracing.part("argon2"):
            return await self._hash_queue.run(work, client)

    def _hash(self, secret: bytes) -> str:
        self._computations.inc()
        return self._hasher.hash(secret)

    def _compare(self, found: str | ForeignHash | None, password: str) -> PasswordCheck:
        secret = _normal_form(password)
        if isinstance(found, str):
            matches = self._matches(found, secret)
            return PasswordCheck(matches, matches and self._is_outdated(found))
        # Without NFC, since the system that the hash came from did not normalise passwords.
        if found is not None and found(password.encode("utf-8")):
            return PasswordCheck(matches=True, outdated=False, replacement=self._hash(secret))
        self._matches(self._decoy, secret)
        return PasswordCheck(matches=False, outdated=False)

    def _matches(self, encoded: str, secret: bytes) -> bool:
        self._computations.inc()
        try:
            return self._hasher.verify(encoded, secret)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            _log.error("password_hash_not_computable")
            return False

    def _is_outdated(self, encoded: str) -> bool:
        """Return whether to upgrade a hash. One of a higher cost stays: a release must not weaken stored hashes."""
        found = extract_parameters(encoded)
        return found.type is not Type.ID or (_no_more_than(found, self._parameters) and found != self._parameters)


def check_stored_hash(text: str) -> None:
    """Check that `verify` can compute a stored hash.

    Raises:
        UnusableHashError: it is malformed, of no known kind, or beyond the bounds.
    """
    _parse(text)


def _parse(text: str) -> str | ForeignHash:
    """Return an argon2 hash unchanged, or another kind of hash parsed."""
    if not text.startswith("$argon2"):
        return read_foreign_hash(text)
    parts = _ARGON2.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if parts is None or not all(map(_is_canonical, parts.groups())):
        raise UnusableHashError("is malformed")
    try:
        found = extract_parameters(text)
    except InvalidHashError:
        raise UnusableHashError("is malformed") from None
    within = _no_more_than(_LEAST_STORED, found) and _no_more_than(found, _MAX_STORED)
    # RFC 9106 §3.1: 8 KiB for each lane.
    if not within or found.memory_cost < 8 * found.parallelism:
        raise UnusableHashError("is beyond the bounds of what is computed")
    return text


def _is_canonical(text: str) -> bool:
    """Return whether it is canonical base64 without padding, the only form that argon2 accepts."""
    try:
        return b64encode(b64decode(text + "=" * (-len(text) % 4))).decode().rstrip("=") == text
    except ValueError:
        return False


def _usable_hash(stored: str | None) -> str | ForeignHash | None:
    """Return the parsed hash; None if there is no hash, or if it cannot be computed."""
    if stored is None:
        return None
    try:
        return _parse(stored)
    except UnusableHashError as error:
        _log.error("password_hash_unusable", reason=str(error))
        return None


def _normal_form(password: str) -> bytes:
    """Return NFC, so that a password is the same from every keyboard (NIST SP 800-63B-4 §3.1.1.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8")


def _no_more_than(found: Parameters, bound: Parameters) -> bool:
    names = ("version", "salt_len", "hash_len", "time_cost", "memory_cost", "parallelism")
    return all(getattr(found, name) <= getattr(bound, name) for name in names)
