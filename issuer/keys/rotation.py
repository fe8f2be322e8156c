"""How a ring moves on: `next`, then `current`, then `retired`, then gone. Pure: ring and moment in, ring out.

Signing with a key that verifiers have not seen is the classic outage of a rotation, and withdrawing one whose
tokens live is the other. Both are a matter of time, so the times are computed here and nowhere else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from issuer.keys.models import KeyState, Ring, RingKey, key_in_state
from shared.access_token import REVOCATION_SECONDS
from shared.jwks import thumbprint

JWKS_MAX_AGE_SECONDS: Final = 300
"""How long whoever has fetched the key set may go without asking again, unless it is set."""

ROTATION_DAYS: Final = 90
"""How long a key signs before the next is made, unless it is set."""

VERIFIER_RETRY: Final = timedelta(seconds=40)
"""A verifier's look may take 5 s and fail, the next comes at most 30 s later and may take 5 s."""

CLOCK_SKEW: Final = timedelta(seconds=60)
"""Between machines that share the folder; in it lies the second in which issuers follow a change."""

SIGNED_LIFE: Final = timedelta(seconds=REVOCATION_SECONDS)
"""The longest that a token is good, a verifier's leeway included. A status list may be relied on for some minutes
more, when no token is left that it could tell of."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to the key or MAC secret of that name.

    Attributes:
        done: `made`, `promoted`, `retired`, `dropped` or `rewrapped`.
    """

    done: str
    name: str


class Named(Protocol):
    """What has a life of states: a signing key, a MAC secret."""

    @property
    def name(self) -> str:
        """What an operator calls it by."""

    @property
    def state(self) -> str:
        """Where it is in its life."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a key may go on to its next state.

    Attributes:
        jwks_max_age: what the key set is served with.
        rotate_after: the age at which a current key is to have a successor; None leaves it to the operator.
    """

    jwks_max_age: timedelta = timedelta(seconds=JWKS_MAX_AGE_SECONDS)
    rotate_after: timedelta | None = timedelta(days=ROTATION_DAYS)

    @classmethod
    def of(cls, jwks_max_age_seconds: int, rotation_days: int) -> "Schedule":
        """As the settings say it: 0 days is never."""
        rotate_after = timedelta(days=rotation_days) if rotation_days else None
        return cls(timedelta(seconds=jwks_max_age_seconds), rotate_after)

    @property
    def publish_delay(self) -> timedelta:
        """From the publication of a key to its first signature.

        The age counts twice: a cache on the way may hand out what it took just before the publication until
        just before its end, and who takes it then may keep it for as long again.
        """
        return 2 * self.jwks_max_age + VERIFIER_RETRY + CLOCK_SKEW

    def due_at(self, key: RingKey) -> datetime | None:
        """When a next key may sign, a current one is to have a successor, a retired one may go; None for never."""
        match key.state:
            case KeyState.NEXT:
                return key.created_at + self.publish_delay
            case KeyState.CURRENT:
                assert key.activated_at is not None
                return key.activated_at + self.rotate_after if self.rotate_after is not None else None
            case KeyState.RETIRED:
                assert key.retired_at is not None
                return key.retired_at + SIGNED_LIFE + CLOCK_SKEW

    def is_due(self, key: RingKey, now: datetime) -> bool:
        """Whether that moment has come."""
        due_at = self.due_at(key)
        return due_at is not None and now >= due_at


def add_key(ring: Ring, public: RSAPublicKey, now: datetime) -> Ring:
    """With a new key: current if there is none, since nobody can hold tokens or a key set; else next."""
    if key_in_state(ring, KeyState.CURRENT) is None:
        return (*ring, RingKey(thumbprint(public), KeyState.CURRENT, public, now, activated_at=now))
    return (*ring, RingKey(thumbprint(public), KeyState.NEXT, public, now))


def promote(ring: Ring, now: datetime) -> Ring:
    """The next key signs from now on, and the current one no more. Whether it may is the caller's to ask."""

    def moved() -> Iterator[RingKey]:
        for key in ring:
            match key.state:
                case KeyState.NEXT:
                    yield replace(key, state=KeyState.CURRENT, activated_at=now)
                case KeyState.CURRENT:
                    yield replace(key, state=KeyState.RETIRED, retired_at=now)
                case KeyState.RETIRED:
                    yield key

    return tuple(moved()) if key_in_state(ring, KeyState.NEXT) else ring


def drop_dead(ring: Ring, schedule: Schedule, now: datetime) -> Ring:
    """Without the retired keys of which no token can be alive."""
    return tuple(key for key in ring if not (key.state is KeyState.RETIRED and schedule.is_due(key, now)))


def drop_key(ring: Ring, kid: str) -> Ring:
    """Without the key of that name, whatever it signed."""
    return tuple(key for key in ring if key.kid != kid)


def wants_successor(ring: Ring, schedule: Schedule, now: datetime) -> bool:
    """Whether the current key has come to the age at which the next is to be made."""
    current = key_in_state(ring, KeyState.CURRENT)
    return current is not None and key_in_state(ring, KeyState.NEXT) is None and schedule.is_due(current, now)


def steps_between(before: Sequence[Named], after: Sequence[Named]) -> tuple[Step, ...]:
    """What was done to make one of the other."""
    earlier, later = ({thing.name: thing.state for thing in things} for things in (before, after))
    dropped = [Step("dropped", name) for name in earlier if name not in later]
    made = [Step("made", name) for name in later if name not in earlier]
    moved = [
        Step("promoted" if state == KeyState.CURRENT else "retired", name)
        for name, state in later.items()
        if earlier.get(name, state) != state
    ]
    return (*dropped, *made, *moved)
