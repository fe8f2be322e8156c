"""Arithmetic over samples: medians with their spread, ratios taken round by round, targets met or not.

Ratios compare within a round and only then take the median, so that a machine that changes its speed between
rounds changes both sides of the fraction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadtests.benchmark.rounds import Sample, Under

Key = tuple[str, Under]
"""Whose figure, under which load."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median over the rounds, the least and the greatest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What the samples say, for any figure of a sample; None where nothing was measured."""

    samples: Sequence[Sample]

    def of(self, key: Key, figure: Callable[[Sample], float]) -> Spread | None:
        """The spread of `figure` over the rounds."""
        return spread(list(self._by_round(key, figure).values()))

    def throughput(self, key: Key) -> Spread | None:
        """Requests per second."""
        return self.of(key, rate)

    def ratio(self, key: Key, other: Key) -> Spread | None:
        """The throughput of `key` in that of `other`, over the rounds that measured both."""
        ours, theirs = self._by_round(key, rate), self._by_round(other, rate)
        return spread([ours[number] / theirs[number] for number in ours if number in theirs])

    def _by_round(self, key: Key, figure: Callable[[Sample], float]) -> Mapping[int, float]:
        return {one.round: figure(one) for one in self.samples if (one.contender, one.under) == key}


@dataclass(frozen=True, slots=True)
class RatioTarget:
    """The throughput of one is at least so many times that of the other."""

    name: str
    of: Key
    to: Key
    at_least: float

    def judge(self, figures: Figures) -> tuple[str, bool | None]:
        """What was measured, in words, and whether it is enough; None where it was not measured."""
        found = figures.ratio(self.of, self.to)
        if found is None:
            return "not measured", None
        return f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})", found.median >= self.at_least

    @property
    def demand(self) -> str:
        """The bound, in words."""
        return f">= {self.at_least:.2f}"


@dataclass(frozen=True, slots=True)
class LatencyTarget:
    """The 99th percentile stays below a bound, in milliseconds."""

    name: str
    of: Key
    below_ms: float

    def judge(self, figures: Figures) -> tuple[str, bool | None]:
        """What was measured, in words, and whether it is enough; None where it was not measured."""
        found = figures.of(self.of, p99)
        if found is None:
            return "not measured", None
        return f"{found.median:.2f} ms ({found.low:.2f}-{found.high:.2f})", found.median < self.below_ms

    @property
    def demand(self) -> str:
        """The bound, in words."""
        return f"< {self.below_ms:g} ms"


Target = RatioTarget | LatencyTarget


def spread(values: Sequence[float]) -> Spread | None:
    """Median, least and greatest; None of nothing."""
    return Spread(median(values), min(values), max(values)) if values else None


def rate(sample: Sample) -> float:
    """Requests per second."""
    return sample.measured.requests_per_second


def p99(sample: Sample) -> float:
    """Milliseconds that 99 of 100 answers took at most."""
    return sample.measured.p99_ms


_VERIFIER: Final = ("verifier", Under.FEW)
_UNCACHED: Final = ("verifier-uncached", Under.FEW)
_BEHIND_NGINX: Final = ("nginx+verifier", Under.FEW)

TARGETS: Final[tuple[Target, ...]] = (
    RatioTarget("verifier / nginx return 204", _VERIFIER, ("nginx-204", Under.FEW), 0.85),
    RatioTarget("verifier / Envoy with its cache", _VERIFIER, ("envoy-cached", Under.FEW), 2.5),
    RatioTarget("cache off / Envoy without cache", _UNCACHED, ("envoy", Under.FEW), 1.2),
    RatioTarget("cache off / HAProxy", _UNCACHED, ("haproxy", Under.FEW), 1.0),
    RatioTarget("behind nginx / 204 inside that nginx", _BEHIND_NGINX, ("nginx+static", Under.FEW), 0.95),
    RatioTarget("behind nginx / another nginx's 204", _BEHIND_NGINX, ("nginx+204", Under.FEW), 0.95),
    LatencyTarget("verifier, p99 at half load", ("verifier", Under.HALF), 1.0),
    LatencyTarget("verifier, p99 at 1,000 connections", ("verifier", Under.MANY), 50.0),
    RatioTarget("verifier, 1,000 / 32 connections", ("verifier", Under.MANY), _VERIFIER, 0.75),
)
