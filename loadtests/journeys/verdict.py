"""Figures of a run against what the project promises of itself: met or not met. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loadtests.journeys.kinds import AUTH, CALL, REFUSED_CALL, UNTIL_REFUSED, Journey
from loadtests.journeys.recorder import Times

AUTH_P95_MS: Final = 200.0
VALIDATION_MS: Final = 50.0
REVOCATION_P99_MS: Final = 3000.0
LEAST_KEYS: Final = 2

_BOUNDS: Final[Mapping[str, tuple[tuple[str, float], ...]]] = {
    **dict.fromkeys(AUTH, (("p95", AUTH_P95_MS),)),
    CALL: (("p95", VALIDATION_MS), ("p99", VALIDATION_MS)),
    REFUSED_CALL: (("p95", VALIDATION_MS), ("p99", VALIDATION_MS)),
    UNTIL_REFUSED: (("p99", REVOCATION_P99_MS),),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the verdict.

    Attributes:
        times: of the answers; None where there were none, or where it is a count.
        count: what was counted, where it is one.
        met: None where nothing is demanded.
    """

    name: str
    times: Times | None
    demanded: str
    met: bool | None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rows."""

    lines: tuple[Line, ...]

    @property
    def met(self) -> bool:
        """Whether everything that is demanded was met."""
        return all(line.met is not False for line in self.lines)


def judge(journey: Journey, document: Mapping[str, Any], phase: str) -> Verdict:
    """The verdict on `phase` of what `recorder` documents. Faults count whenever they happened."""
    return Verdict(tuple(_lines(journey, document, phase)))


def operations_of(document: Mapping[str, Any], phase: str) -> dict[str, Times]:
    """The times of a phase; empty if it never came."""
    found = document["phases"].get(phase, {"operations": {}})["operations"]
    return {name: Times(**times) for name, times in found.items()}


def faults_of(document: Mapping[str, Any], *phases: str) -> int:
    """How many answers were wrong, in all or in `phases`."""
    return sum(fault["count"] for fault in document["faults"] if not phases or fault["phase"] in phases)


def _lines(journey: Journey, document: Mapping[str, Any], phase: str) -> Iterator[Line]:
    found = operations_of(document, phase)
    shown = [*_BOUNDS, *(name for name in found if name not in _BOUNDS)]
    for name in (one for one in shown if one in found or one in journey.must):
        bounds = () if name in journey.exempt else _BOUNDS.get(name, ())
        demanded = ", ".join(f"{percentile} < {bound:g} ms" for percentile, bound in bounds)
        yield Line(name, found.get(name), demanded, _met(found.get(name), bounds, required=name in journey.must))
    if journey.rotates:
        keys = len(document["keys"])
        yield Line("keys that signed", None, f">= {LEAST_KEYS}", keys >= LEAST_KEYS, keys)
    faults = faults_of(document)
    yield Line("failures", None, "0", not faults, faults)


def _met(times: Times | None, bounds: tuple[tuple[str, float], ...], *, required: bool) -> bool | None:
    """What was not measured is no proof of anything."""
    if times is None:
        return not required
    if not bounds:
        return None
    return all(getattr(times, percentile) < bound for percentile, bound in bounds)
