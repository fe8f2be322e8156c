"""Measures in rounds over all contenders, interleaved, with one server running at a time.

Yields samples and draws no conclusions. With any failed response or socket, the whole run has no result.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadtests.bench import wrk
from loadtests.bench.contenders import Contender
from loadtests.bench.servers import Setup, serving
from loadtests.bench.wrk import Measurement
from loadtests.machine import Busy, Cores, watch


class LoadLevel(StrEnum):
    """The loads: as fast as 32 or 1,000 connections go, and half the peak of the former."""

    FEW = "32 connections"
    MANY = "1,000 connections"
    HALF = "half load"


# 256 at half load: each then pauses for about 4 ms, since wrk's pauses are whole milliseconds. More would slow wrk.
CONNECTIONS: Final = {LoadLevel.FEW: 32, LoadLevel.MANY: 1000, LoadLevel.HALF: 256}


@dataclass(frozen=True, slots=True)
class Plan:
    """Durations of a run, in seconds."""

    rounds: int
    warm_up: int
    measure: int


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


FULL: Final = Plan(rounds=5, warm_up=1, measure=3)
QUICK: Final = Plan(rounds=2, warm_up=1, measure=1)


def run_rounds(
    contenders: Sequence[Contender], plan: Plan, setup: Setup, cores: Cores, report: Callable[[str], None]
) -> Iterator[Sample]:
    """Measure every contender once per round."""
    for number in range(plan.rounds):
        for contender in order(contenders, number, plan.rounds):
            for sample in _measure(contender, number, plan, setup, cores):
                report(_line(sample, plan))
                yield sample


def order(contenders: Sequence[Contender], number: int, rounds: int) -> list[Contender]:
    """Rotate the start each round and reverse every second one, so that neighbours change."""
    first = number * len(contenders) // rounds
    rotated = [*contenders[first:], *contenders[:first]]
    return rotated[::-1] if number % 2 else rotated


def _measure(contender: Contender, number: int, plan: Plan, setup: Setup, cores: Cores) -> Iterator[Sample]:
    with serving(contender, setup) as served:

        def run(under: LoadLevel, seconds: int, pause_ms: float = 0.0) -> Sample:
            before, url = served.cpu_seconds(), f"http://127.0.0.1:{served.port}{contender.path}"
            with watch(cores) as busy:
                tokens = setup.fixtures.tokens
                measured = wrk.send(
                    CONNECTIONS[under], pause_ms, url=url, tokens=tokens, core=cores.load, seconds=seconds
                )
            measured.ensure_clean(f"{contender.name}, {under}")
            cpu_us = (served.cpu_seconds() - before) / measured.requests * 1e6
            return Sample(number, contender.name, under, measured, busy, cpu_us)

        run(LoadLevel.FEW, plan.warm_up)
        peak = run(LoadLevel.FEW, plan.measure)
        yield peak
        yield run(LoadLevel.MANY, plan.measure)
        if contender.half_load:
            rate = peak.measured.requests_per_second / 2
            trial = run(LoadLevel.HALF, plan.warm_up, think_ms(rate))
            yield run(LoadLevel.HALF, plan.measure, think_ms(rate, trial.measured.requests_per_second))


def think_ms(rate: float, tried: float | None = None) -> float:
    """Return the mean pause with which the connections together send `rate` requests/s.

    Args:
        rate: the wanted rate.
        tried: the rate that the pause for `rate` alone gave, since a response takes time too.
    """
    naive = CONNECTIONS[LoadLevel.HALF] / rate * 1000
    if tried is None:
        return naive
    cycle = CONNECTIONS[LoadLevel.HALF] / tried * 1000  # of which `cycle - naive` was the response
    return max(0.1, 2 * naive - cycle)


def _line(sample: Sample, plan: Plan) -> str:
    measured = sample.measured
    return (
        f"round {sample.round + 1}/{plan.rounds}  {sample.contender:<25}{sample.under:<18}"
        f"{measured.requests_per_second:>9,.0f}/s {sample.cpu_us:>7.1f} us/request  p99 {measured.p99_ms:>7.2f} ms"
    )
