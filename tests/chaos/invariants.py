"""Decides which observations of a chaos run are violations. Pure: it gets observations, faults and times.

Correctness has no excuse: an invalid token is never accepted, a 5xx is 503 with Retry-After, and an acknowledged
write is not lost. Availability has: a fault excuses the effects that it must have, on the surfaces that it reaches,
from its start until the published recovery time after its end. Recovery may take longer by the time for which
processes waited for a core of the machine, up to `STARVED_LIMIT` times the published time.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REVOCATION_SECONDS: Final = 3.0
"""Publication 1 s, poll 2 s, and the fetch (contract E)."""

STARVED_LIMIT: Final = 3.0
_STARVED_MARGIN_SECONDS: Final = 1.0
"""Seconds by which an effect may be observed later than the wait for a core that caused it."""


class Effect(StrEnum):
    """Kinds of responses other than the expected one."""

    NO_RESPONSE = "no response"
    UNAVAILABLE = "503"
    REJECTED = "a valid token rejected"
    LATE = "a revoked token accepted after the bound"
    WRONG_ACCEPT = "an invalid token accepted"
    WRONG_STATUS = "a wrong status"
    NO_RETRY_AFTER = "503 without Retry-After"
    LOST = "an acknowledged write lost"


INEXCUSABLE: Final = frozenset({Effect.WRONG_ACCEPT, Effect.WRONG_STATUS, Effect.NO_RETRY_AFTER, Effect.LOST})


@dataclass(frozen=True, slots=True)
class Observation:
    """A response other than the expected one. Times are in seconds since the start of the run.

    Attributes:
        overdue: of a revoked token, the seconds since the bound.
    """

    sent: float
    received: float
    surface: str
    effect: Effect
    detail: str = ""
    overdue: float = 0.0


@dataclass(slots=True)
class Fault:
    """A fault that was caused.

    Attributes:
        excuses: effects by surface.
        recovery_seconds: published time from its end until no client notices it any more.
        end: when it ended; infinite while it lasts.
    """

    kind: str
    target: str
    start: float
    excuses: frozenset[tuple[str, Effect]]
    recovery_seconds: float
    end: float = float("inf")

    @property
    def name(self) -> str:
        """Return kind and target."""
        return f"{self.kind}: {self.target}"


@dataclass(frozen=True, slots=True)
class Starvation:
    """A period in which a process that was ready to run waited `lost` seconds for a core."""

    start: float
    end: float
    lost: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """Effects of a fault: seconds from its start to the first effect, and from its end to the last one."""

    fault: Fault
    noticed_after: float | None
    recovered_after: float
    effects: dict[Effect, int]


def violations(
    observations: Iterable[Observation], faults: Sequence[Fault], starved: Sequence[Starvation]
) -> list[Observation]:
    """Return the observations that nothing excuses."""
    return [one for one in observations if not _is_excused(one, faults, starved)]


def outcomes(
    observations: Sequence[Observation], faults: Sequence[Fault], starved: Sequence[Starvation]
) -> list[Outcome]:
    """Return the outcome of each fault. An effect belongs to the latest fault that excuses it."""
    effects_of: dict[int, list[Observation]] = {number: [] for number in range(len(faults))}
    for one in observations:
        causes = [number for number, fault in enumerate(faults) if _excuses(fault, one, starved)]
        if causes:
            effects_of[max(causes, key=lambda number: faults[number].start)].append(one)
    return [_outcome(fault, effects_of[number]) for number, fault in enumerate(faults)]


def _outcome(fault: Fault, observed: Sequence[Observation]) -> Outcome:
    noticed = min((one.received for one in observed), default=None)
    return Outcome(
        fault,
        None if noticed is None else max(0.0, noticed - fault.start),
        max([0.0, *(one.received - fault.end for one in observed)]),
        dict(Counter(one.effect for one in observed)),
    )


def _is_excused(one: Observation, faults: Sequence[Fault], starved: Sequence[Starvation]) -> bool:
    if one.effect in INEXCUSABLE:
        return False
    if any(_excuses(fault, one, starved) for fault in faults):
        return True
    if one.effect is Effect.REJECTED:
        return False
    if one.effect is Effect.LATE:
        revoked_at = one.sent - one.overdue - REVOCATION_SECONDS
        return _lost_seconds(starved, revoked_at, one.sent) >= one.overdue
    # A busy machine makes deadlines of half a second pass.
    start, end = one.sent - _STARVED_MARGIN_SECONDS, one.received + _STARVED_MARGIN_SECONDS
    return any(stretch.start <= end and start <= stretch.end for stretch in starved)


def _lost_seconds(starved: Sequence[Starvation], start: float, end: float) -> float:
    return sum(stretch.lost for stretch in starved if stretch.start < end and start < stretch.end)


def _excuses(fault: Fault, one: Observation, starved: Sequence[Starvation]) -> bool:
    if (one.surface, one.effect) not in fault.excuses or one.received < fault.start:
        return False
    return one.sent <= fault.end + allowed_recovery(fault, starved)


def allowed_recovery(fault: Fault, starved: Sequence[Starvation]) -> float:
    """Return the published recovery time, and the time that processes lost after the fault's end."""
    lost = _lost_seconds(starved, fault.end, float("inf"))
    return min(fault.recovery_seconds + lost, fault.recovery_seconds * STARVED_LIMIT)
