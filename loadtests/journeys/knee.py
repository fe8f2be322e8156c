"""Where a sweep bends: the last number of users that is served as the first was. Pure.

The rule: a step is served if throughput for each user is at least nine tenths of the first step's, the bounds of
the verdict hold, and nothing failed, not even while its users came. The knee is the last step before the first
that is not served.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.journeys.verdict import AUTH_P95_MS, VALIDATION_MS

KEPT_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Step:
    """What was measured with so many users.

    Attributes:
        failures: wrong answers, its ramp included.
        throughput: answers a second.
        auth_p95: of the slowest operation of the issuer, in milliseconds; 0 where there was none.
        call_p95: of calls through the gateway, in milliseconds.
        locust: cores that the load generator kept busy; near 1 it is the limit itself.
        machine: cores that everything did.
    """

    users: int
    failures: int
    throughput: float
    auth_p95: float
    call_p95: float
    locust: float
    machine: float


@dataclass(frozen=True, slots=True)
class Knee:
    """Attributes: users: None if not even the first step was served. why: what ended it, in words."""

    users: int | None
    why: str


def find_knee(steps: Sequence[Step]) -> Knee:
    """The knee of `steps`, which go by growing numbers of users."""
    served: int | None = None
    for step in steps:
        if fault := _fault(step, steps[0]):
            return Knee(served, f"at {step.users:,} users {fault}")
        served = step.users
    return Knee(served, "the last step was still served: the knee lies beyond it")


def _fault(step: Step, first: Step) -> str:
    """Why a step is not served; nothing if it is."""
    kept = step.throughput / step.users / (first.throughput / first.users)
    if step.failures:
        return f"{step.failures:,} answers were wrong"
    if step.auth_p95 >= AUTH_P95_MS:
        return f"p95 of the slowest auth operation is {step.auth_p95:,.0f} ms"
    if step.call_p95 >= VALIDATION_MS:
        return f"p95 of calls is {step.call_p95:,.0f} ms"
    return "" if kept >= KEPT_SHARE else f"each user gets {kept:.2f} of the throughput of the first step"
