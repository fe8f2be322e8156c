"""The steps of a sweep and their knee. Pure.

A step counts as served if each user gets at least nine tenths of the first step's throughput, the thresholds hold and
nothing failed, not even while its users arrived. The knee is the last step before the first that is not served.
"""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from loadtests.thresholds import AUTH_P95_MS, CALL_MS

MIN_THROUGHPUT_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Step:
    """Statistics of one number of users.

    Attributes:
        failures: wrong responses, those during the arrival of the users included.
        throughput: responses per second.
        auth_p95_ms: of the slowest operation of the issuer; 0 where there was none.
        call_p95_ms: of calls through the gateway.
        locust_cores: cores that the load generator used; near 1 it is the limit itself.
        machine_cores: cores that all processes together used.
    """

    users: int
    failures: int
    throughput: float
    auth_p95_ms: float
    call_p95_ms: float
    locust_cores: float
    machine_cores: float


@dataclass(frozen=True, slots=True)
class Knee:
    """The largest number of users that was served, None if not even the first step was; and what ended it."""

    users: int | None
    reason: str


def find_knee(steps: Sequence[Step]) -> Knee:
    """Return the knee of `steps`, which go by growing numbers of users."""
    served: int | None = None
    for step in steps:
        if failure := _failure(step, steps[0]):
            return Knee(served, f"at {step.users:,} users {failure}")
        served = step.users
    return Knee(served, "the last step was still served, so the knee lies beyond it")


def _failure(step: Step, first: Step) -> str:
    share = step.throughput / step.users / (first.throughput / first.users) if first.throughput else 0.0
    if step.failures:
        return f"{step.failures:,} responses were wrong"
    if step.auth_p95_ms >= AUTH_P95_MS:
        return f"p95 of the slowest auth operation is {step.auth_p95_ms:,.0f} ms"
    if step.call_p95_ms >= CALL_MS:
        return f"p95 of calls is {step.call_p95_ms:,.0f} ms"
    return "" if share >= MIN_THROUGHPUT_SHARE else f"each user gets {share:.2f} of the first step's throughput"


def parse_steps(text: str) -> tuple[int, ...]:
    """Return growing numbers of users from `N,N,…`.

    Raises:
        ArgumentTypeError: the text is something else.
    """
    numbers = text.split(",")
    steps = tuple(int(number) for number in numbers if number.isdecimal())
    if len(steps) < len(numbers) or steps[0] < 1 or list(steps) != sorted(set(steps)):
        raise ArgumentTypeError(f"steps must be growing numbers of users, such as 100,250,500; not {text!r}")
    return steps
