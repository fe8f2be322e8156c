"""Rotation: `next`, then `current`, then `retired`, then removed. Pure functions of records and time.

Signing keys and MAC secrets are rotated alike. Valid tokens are rejected if a key signs before verifiers have fetched
it, or is removed before its tokens have expired. The delays that prevent both are computed here for keys, and by
`is_secret_due` for secrets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from issuer.keys.mac_secrets import MacSecret, MacSecretRecord, MacSecretRecords
from issuer.keys.models import KeyRecord, KeyRecords, KeyState, in_state
from shared.access_token import REVOCATION_RETENTION_SECONDS
from shared.jwks import thumbprint

_Record = KeyRecord | MacSecretRecord
R = TypeVar("R", KeyRecord, MacSecretRecord)

JWKS_MAX_AGE_SECONDS: Final = 300
"""Default `max-age` of the key set."""

ROTATION_DAYS: Final = 90
"""Default age of the current key at which the next one is created."""

VERIFIER_RETRY: Final = timedelta(seconds=40)
"""A verifier's fetch may fail after 5 s; it retries within 30 s, and that fetch may take 5 s."""

CLOCK_SKEW: Final = timedelta(seconds=60)
"""Between machines that share the key directory. Includes the second within which issuers reload a change."""

MAX_TOKEN_LIFETIME: Final = timedelta(seconds=REVOCATION_RETENTION_SECONDS)
"""The longest that a token is accepted, a verifier's leeway included."""


@dataclass(frozen=True, slots=True)
class KeyTransition:
    """A change of one signing key or MAC secret.

    Attributes:
        action: `created`, `promoted`, `retired`, `removed` or `rewrapped`.
        name: the kid, or the id of the MAC secret.
    """

    action: str
    name: str


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """Times at which a key may change its state.

    Attributes:
        jwks_max_age_seconds: `max-age` of the key set.
        rotation_days: age of the current key at which the next one is created; 0 for no automatic rotation.
    """

    jwks_max_age_seconds: int = JWKS_MAX_AGE_SECONDS
    rotation_days: int = ROTATION_DAYS

    @property
    def publish_delay(self) -> timedelta:
        """The time from the publication of a key to its first signature."""
        # Twice: a cache may have fetched the key set just before the publication and serve it for a max-age, and a
        # verifier that fetches it from there at the end uses it for another max-age.
        return timedelta(seconds=2 * self.jwks_max_age_seconds) + VERIFIER_RETRY + CLOCK_SKEW

    def due_at(self, key: KeyRecord) -> datetime | None:
        """Return when the key may be promoted (next), needs a successor (current) or may be removed (retired)."""
        match key.state:
            case KeyState.NEXT:
                return key.created_at + self.publish_delay
            case KeyState.CURRENT:
                assert key.activated_at is not None
                return key.activated_at + timedelta(days=self.rotation_days) if self.rotation_days else None
            case KeyState.RETIRED:
                assert key.retired_at is not None
                return key.retired_at + MAX_TOKEN_LIFETIME + CLOCK_SKEW

    def is_due(self, key: KeyRecord, now: datetime) -> bool:
        """Return whether the transition of `key` is due."""
        due_at = self.due_at(key)
        return due_at is not None and now >= due_at


def add_key(records: KeyRecords, public: RSAPublicKey, now: datetime) -> KeyRecords:
    """Add a key: as next, or as current if no key is current, since without one no token can be signed."""
    activated_at = None if in_state(records, KeyState.CURRENT) else now
    return (*records, KeyRecord(thumbprint(public), public, created_at=now, activated_at=activated_at))


def add_secret(records: MacSecretRecords, secret: MacSecret, now: datetime) -> MacSecretRecords:
    """Add a secret: as current if there is none, else as next."""
    activated_at = None if in_state(records, KeyState.CURRENT) else now
    return (*records, MacSecretRecord(secret, created_at=now, activated_at=activated_at))


def promote(records: tuple[R, ...], now: datetime) -> tuple[R, ...]:
    """Make the next record current and retire the current one. The caller checks that this is due."""

    def promoted(record: R) -> R:
        match record.state:
            case KeyState.NEXT:
                return replace(record, activated_at=now)
            case KeyState.CURRENT:
                return replace(record, retired_at=now)
            case KeyState.RETIRED:
                return record

    return tuple(map(promoted, records)) if in_state(records, KeyState.NEXT) else records


def advance(records: tuple[R, ...], is_due: Callable[[R, datetime], bool], now: datetime) -> tuple[R, ...]:
    """Remove the retired records whose tokens have all expired, and promote the next one if that is due."""
    remaining = tuple(record for record in records if not (record.state is KeyState.RETIRED and is_due(record, now)))
    next_record = in_state(remaining, KeyState.NEXT)
    return promote(remaining, now) if next_record is not None and is_due(next_record, now) else remaining


def remove(records: tuple[R, ...], name: str, now: datetime) -> tuple[R, ...]:
    """Remove a record, even if its tokens are valid. If it was the current one, promote the next one at once."""
    remaining = tuple(record for record in records if record.name != name)
    return remaining if in_state(remaining, KeyState.CURRENT) else promote(remaining, now)


def needs_rotation(records: KeyRecords, policy: RotationPolicy, now: datetime) -> bool:
    """Return whether the current key has reached the age at which the next one is created, and there is none."""
    current = in_state(records, KeyState.CURRENT)
    return current is not None and in_state(records, KeyState.NEXT) is None and policy.is_due(current, now)


def transitions_between(before: Sequence[_Record], after: Sequence[_Record]) -> tuple[KeyTransition, ...]:
    """Return the transitions that turn `before` into `after`."""
    earlier, later = ({record.name: record.state for record in records} for records in (before, after))
    removed = [KeyTransition("removed", name) for name in earlier if name not in later]
    created = [KeyTransition("created", name) for name in later if name not in earlier]
    changed = [
        KeyTransition("promoted" if state is KeyState.CURRENT else "retired", name)
        for name, state in later.items()
        if earlier.get(name, state) != state
    ]
    return (*removed, *created, *changed)
