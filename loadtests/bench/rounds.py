"""Measures in rounds over all contenders, interleaved, with one server running at a time.

Yields samples and draws no conclusions. With any failed response or socket, the whole run has no result.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from loadtests.bench import wrk
from loadtests.bench.contenders import Contender
from loadtests.bench.machine import Busy, Cores, watch
from loadtests.bench.servers import InvalidRunError, Setup, serving
from loadtests.bench.wrk import Load, Measurement

T = TypeVar("T")

FEW_CONNECTIONS: Final = 32
MANY_CONNECTIONS: Final = 1000
HALF_LOAD_CONNECTIONS: Final = 256
"""Enough for pauses of about 4 ms, which wrk's whole milliseconds can express; more only cost wrk itself."""


class LoadLevel(StrEnum):
    """The loads: as fast as 32 or 1,000 connections go, and half the peak of the former."""

    FEW = "32 connections"
    MANY = "1,000 connections"
    HALF = "half load"


@dataclass(frozen=True, slots=True)
class Plan:
    """Durations of a run, in seconds."""

    rounds: int
    warm_up: int
    measure: int
    budget: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of a contender.

    Attributes:
        busy: how busy the cores were meanwhile.
        cpu_us: processor time of all the contender's processes for each request, in microseconds.
    """

    round: int
    contender: str
    under: LoadLevel
    measured: Measurement
    busy: Busy
    cpu_us: float


FULL: Final = Plan(rounds=5, warm_up=1, measure=3, budget=1200)
QUICK: Final = Plan(rounds=2, warm_up=1, measure=1, budget=300)


def run_rounds(
    contenders: Sequence[Contender], plan: Plan, setup: Setup, cores: Cores, report: Callable[[str], None]
) -> Iterator[Sample]:
    """Measure every contender once per round, until the rounds or the budget are used up.

    Raises:
        ProcessError, WrkOutputError: a server or wrk failed.
        InvalidRunError: a response was wrong or missing, or the machine is far too slow.
    """
    started, slowest = time.monotonic(), 0.0
    for number in range(plan.rounds):
        elapsed = time.monotonic() - started
        if number and elapsed + slowest > plan.budget:
            report(f"stopping after {number} rounds: another would not fit in {plan.budget:.0f} s")
            return
        for contender in order(contenders, number, plan.rounds):
            if time.monotonic() - started > 1.5 * plan.budget:
                raise InvalidRunError(f"took far longer than the {plan.budget:.0f} s it should")
            for sample in _measure(contender, number, plan, setup, cores):
                report(_line(sample, plan))
                yield sample
        slowest = max(slowest, time.monotonic() - started - elapsed)


def order(contenders: Sequence[T], number: int, rounds: int) -> list[T]:
    """Rotate the start each round and reverse every second one, so that neighbours change."""
    first = number * len(contenders) // rounds
    rotated = [*contenders[first:], *contenders[:first]]
    return rotated[::-1] if number % 2 else rotated


def count_samples(contenders: Sequence[Contender], rounds: int) -> int:
    """Return the number of samples that `run_rounds` yields."""
    return rounds * sum(3 if contender.half_load else 2 for contender in contenders)


def ensure_clean(measured: Measurement, what: str) -> None:
    """Raise InvalidRunError if any request was rejected or lost: fast rejections are no throughput."""
    if measured.faults:
        raise InvalidRunError(f"{what}: {measured.faults}")


def _measure(contender: Contender, number: int, plan: Plan, setup: Setup, cores: Cores) -> Iterator[Sample]:
    with serving(contender, setup) as served:

        def run(under: LoadLevel, load: Load, seconds: int) -> Sample:
            before = served.cpu_seconds()
            with watch(cores) as busy:
                tokens = setup.fixtures.tokens
                measured = wrk.send(
                    load, port=served.port, path=served.path, tokens=tokens, cores=[cores.load], seconds=seconds
                )
            ensure_clean(measured, f"{contender.name}, {under}")
            cpu_us = (served.cpu_seconds() - before) / measured.requests * 1e6
            return Sample(number, contender.name, under, measured, busy, cpu_us)

        few = Load(FEW_CONNECTIONS)
        run(LoadLevel.FEW, few, plan.warm_up)
        peak = run(LoadLevel.FEW, few, plan.measure)
        yield peak
        yield run(LoadLevel.MANY, Load(MANY_CONNECTIONS), plan.measure)
        if contender.half_load:
            rate = peak.measured.requests_per_second / 2
            trial = run(LoadLevel.HALF, Load(HALF_LOAD_CONNECTIONS, think_ms(rate)), plan.warm_up)
            pause = think_ms(rate, trial.measured.requests_per_second)
            yield run(LoadLevel.HALF, Load(HALF_LOAD_CONNECTIONS, pause), plan.measure)


def think_ms(rate: float, tried: float | None = None) -> float:
    """Return the mean pause with which the connections together send `rate` requests/s.

    Args:
        rate: the wanted rate.
        tried: the rate that the pause for `rate` alone gave, since a response takes time too.
    """
    naive = HALF_LOAD_CONNECTIONS / rate * 1000
    if tried is None:
        return naive
    cycle = HALF_LOAD_CONNECTIONS / tried * 1000
    return max(0.1, 2 * naive - cycle)


def _line(sample: Sample, plan: Plan) -> str:
    measured = sample.measured
    return (
        f"round {sample.round + 1}/{plan.rounds}  {sample.contender:<19}{sample.under:<18}"
        f"{measured.requests_per_second:>9,.0f}/s {sample.cpu_us:>7.1f} us/request  p99 {measured.p99_ms:>7.2f} ms"
    )
