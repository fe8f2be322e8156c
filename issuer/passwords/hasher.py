"""The only door to argon2: hashing and verifying passwords, each as one admitted computation.

Knows nothing of accounts: "no such account" arrives here as no stored hash, and costs the same. A hash of
another kind is judged by what it is, and then one argon2 is computed all the same: of a match the hash that
replaces it, else the decoy.
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
"""OWASP Password Storage Cheat Sheet: sets of equal strength, by the memory of each hash in MiB."""

DEFAULT_PARAMETERS: Final = ARGON2_COSTS[19]

_MAX_STORED: Final = Parameters(
    type=Type.ID, version=19, salt_len=64, hash_len=64, time_cost=10, memory_cost=256 * 1024, parallelism=8
)
"""A stored hash names its own cost: without a bound, one planted row (m=2 GiB) takes the machine down."""

_LEAST_STORED: Final = Parameters(
    type=Type.ID, version=16, salt_len=8, hash_len=12, time_cost=1, memory_cost=8, parallelism=1
)
"""Less is no argon2 (RFC 9106 §3.1), or no hash: it would be refused at once, and tell by it."""

_ARGON2: Final = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=[1-9]\d)?\$m=[1-9]\d{0,6},t=[1-9]\d{0,2},p=[1-9]\d{0,2}"
    r"\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)",
    re.ASCII,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """What a verification found.

    Attributes:
        matches: the password is the one that was hashed.
        outdated: it was hashed at less cost than we ask for today; only ever said of a match.
        replacement: of a match with a hash of another kind: the argon2 hash to store instead of it.
    """

    matches: bool
    outdated: bool
    replacement: str | None = field(default=None, repr=False)


_NO: Final = PasswordCheck(matches=False, outdated=False)


class PasswordHasher:
    """Hashes and verifies at one cost, in the threads of `hash_queue`.

    Costs one argon2 computation to construct: the decoy that unknown accounts are verified against.
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
        """Measure how long a hash takes, in seconds. To be done before the first request."""
        return await self._hash_queue.calibrate(lambda: self._hasher.hash(b"a password to measure with"))

    def check_capacity(self, client: QueueClient) -> None:
        """Nothing, if a hash for `client` could begin in time: asked before anything else is spent on them.

        Raises:
            OverloadedError: too much is waiting already.
        """
        self._hash_queue.check_capacity(client)

    async def hash(self, password: str, client: QueueClient = QueueClient()) -> str:  # noqa: B008 - frozen
        """A new encoded hash of `password` (NFC).

        Raises:
            OverloadedError: too much is waiting already.
        """
        secret = _normal_form(password)
        return await self._admitted(lambda: self._hash(secret), client)

    async def verify(self, stored: str | None, password: str, client: QueueClient = QueueClient()) -> PasswordCheck:  # noqa: B008 - frozen
        """Compare `password` (NFC) with a stored hash by exactly one argon2 computation.

        Args:
            stored: the encoded hash, or None where there is no account: then the answer is no, at the
                same cost (a quick no would tell who has an account). So for a hash we must not compute.
            password: as the person gave it.
            client: for whom.

        Raises:
            OverloadedError: too much is waiting already.
        """
        found = _readable(stored)
        secret = _normal_form(password)
        if isinstance(found, str):
            return await self._admitted(lambda: self._compare(found, secret), client)
        if found is None:
            return await self._admitted(lambda: self._refuse(secret), client)
        # As the system of origin read it: it knew nothing of NFC.
        given = password.encode("utf-8")
        return await self._admitted(lambda: self._compare_foreign(found, given, secret), client)

    def measure(self) -> None:
        """Compute one hash in the caller's thread."""
        self._hash(b"a password to measure with")

    async def _admitted(self, work: Callable[[], T], client: QueueClient) -> T:
        """The span is as long as its request waits for it: for a thread, and for the hash."""
        with self._tracing.part("argon2"):
            return await self._hash_queue.run(work, client)

    def _hash(self, secret: bytes) -> str:
        self._computations.inc()
        return self._hasher.hash(secret)

    def _compare(self, encoded: str, secret: bytes) -> PasswordCheck:
        matches = self._matches(encoded, secret)
        return PasswordCheck(matches, matches and self._is_outdated(encoded))

    def _compare_foreign(self, found: ForeignHash, given: bytes, secret: bytes) -> PasswordCheck:
        if not found.matches(given):
            return self._refuse(secret)
        return PasswordCheck(matches=True, outdated=False, replacement=self._hash(secret))

    def _refuse(self, secret: bytes) -> PasswordCheck:
        self._matches(self._decoy, secret)
        return _NO

    def _matches(self, encoded: str, secret: bytes) -> bool:
        self._computations.inc()
        try:
            return self._hasher.verify(encoded, secret)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            _log.error("stored password hash cannot be computed")
            return False

    def _is_outdated(self, encoded: str) -> bool:
        """Upgrade only: lowering the cost in a release must not weaken what is stored."""
        found = extract_parameters(encoded)
        return found.type is not Type.ID or (_no_more_than(found, self._parameters) and found != self._parameters)


def check_stored_hash(text: str) -> None:
    """Whether `verify` could compute it.

    Raises:
        UnusableHashError: it is malformed, of no known kind, or beyond the bounds.
    """
    _read(text)


def _read(text: str) -> str | ForeignHash:
    """An argon2 hash as it is, or another kind of hash, read."""
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
    """Whether it is base64 without padding and with no spare bit set: argon2 reads nothing else."""
    try:
        return b64encode(b64decode(text + "=" * (-len(text) % 4))).decode().rstrip("=") == text
    except ValueError:
        return False


def _readable(stored: str | None) -> str | ForeignHash | None:
    """What to compare with; None for no hash, and for one that we must not compute."""
    if stored is None:
        return None
    try:
        return _read(stored)
    except UnusableHashError as error:
        _log.error("stored password hash is not used", reason=str(error))
        return None


def _normal_form(password: str) -> bytes:
    """NFC, so that one password typed on two keyboards is one (NIST SP 800-63B-4 §3.1.1.2)."""
    return unicodedata.normalize("NFC", password).encode("utf-8")


def _no_more_than(found: Parameters, bound: Parameters) -> bool:
    names = ("version", "salt_len", "hash_len", "time_cost", "memory_cost", "parallelism")
    return all(getattr(found, name) <= getattr(bound, name) for name in names)
