"""Counts what locust's users were answered: exact times by operation and phase, faults by name. Knows no locust.

Locust's own percentiles are of rounded times and of the ramp too; these are of every answer in a phase.
"""

import math
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_PERCENTILES: Final = (0.5, 0.95, 0.99)

Spent = Mapping[str, float]
"""Seconds of processor time, by who spent them."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long answers of one operation took, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    longest: float


@dataclass(slots=True)
class _Phase:
    """A stretch of the run, or several of one name."""

    seconds: float = 0.0
    waits: dict[str, "array[float]"] = field(default_factory=lambda: defaultdict(lambda: array("f")))
    spent: Counter[str] = field(default_factory=Counter)


def ramp_to(users: int) -> str:
    """The phase in which users come, whose times are not reported; its faults are."""
    return f"ramp to {users}"


class Recorder:
    """One run.

    Args:
        clock: monotonic seconds.
        spent: what processes have spent up to now; asked where phases change.
    """

    def __init__(self, spent: Callable[[], Spent], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._spent = clock, spent
        self._phases: dict[str, _Phase] = {}
        self._faults: Counter[tuple[str, str, str]] = Counter()
        self._recent: dict[str, array[float]] = defaultdict(lambda: array("f"))
        self._keys: set[str] = set()
        self._told_at = clock()
        self._phase = ""

    @property
    def faults(self) -> int:
        """Wrong answers so far."""
        return self._faults.total()

    def enter(self, phase: str) -> None:
        """What is noted from now on belongs to `phase`."""
        if phase != self._phase:
            self.leave()
            self._phase, self._since, self._before = phase, self._clock(), self._spent()
            self._phases.setdefault(phase, _Phase())

    def leave(self) -> None:
        """The current phase ends; its time and costs are added up."""
        if self._phase:
            phase, now = self._phases[self._phase], self._spent()
            phase.seconds += self._clock() - self._since
            # Who has died is not in `now`, and must not count as having given time back.
            phase.spent.update({who: max(0.0, now[who] - self._before.get(who, 0.0)) for who in now})
            self._phase = ""

    def note(self, operation: str, milliseconds: float, fault: str | None) -> None:
        """One answer."""
        if fault is not None:
            self._faults[self._phase, operation, fault] += 1
            return
        self._recent[operation].append(milliseconds)
        if self._phase:
            self._phases[self._phase].waits[operation].append(milliseconds)

    def note_key(self, kid: str) -> None:
        """A token was signed with that key."""
        self._keys.add(kid)

    def progress(self, operations: Sequence[str]) -> str:
        """Answers a second and the p95 of `operations` since this was asked last, and faults so far."""
        seconds = max(self._clock() - self._told_at, 0.001)
        answered = sum(len(waits) for waits in self._recent.values())
        found = [
            f"{one} p95 {times_of(self._recent[one]).p95:,.0f} ms" for one in operations if self._recent.get(one)
        ]
        self._recent.clear()
        self._told_at = self._clock()
        return "  ".join([f"{answered / seconds:>6,.0f}/s", *found, f"failures {self.faults}"])

    def document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "phases": {
                name: {
                    "seconds": phase.seconds,
                    "spent": dict(phase.spent),
                    "operations": {one: asdict(times_of(waits)) for one, waits in sorted(phase.waits.items())},
                }
                for name, phase in self._phases.items()
            },
            "faults": [
                {"phase": phase, "operation": operation, "fault": fault, "count": count}
                for (phase, operation, fault), count in self._faults.most_common()
            ],
            "keys": sorted(self._keys),
        }


def times_of(waits: "array[float]") -> Times:
    """Percentiles by nearest rank, which are times that somebody waited."""
    ordered = sorted(waits)
    ranks = [ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in _PERCENTILES]
    return Times(len(ordered), ranks[0], ranks[1], ranks[2], ordered[-1])
