"""Arithmetic over samples: medians with their range, ratios taken round by round, targets met or not.

Ratios compare within a round and only then take the median, so that a machine that changes its speed between
rounds changes both sides of the fraction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadtests.bench.rounds import LoadLevel, Sample

Key = tuple[str, LoadLevel]
"""A contender and a load."""


@dataclass(frozen=True, slots=True)
class MedianRange:
    """The median over the rounds, the least and the greatest."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of samples, for any figure of a sample; None where nothing was measured."""

    samples: Sequence[Sample]

    def of(self, key: Key, figure: Callable[[Sample], float]) -> MedianRange | None:
        """Return median and range of `figure` over the rounds."""
        return median_range(list(self._by_round(key, figure).values()))

    def throughput(self, key: Key) -> MedianRange | None:
        """Return the requests per second."""
        return self.of(key, rate)

    def cost_ratio(self, key: Key, other: Key) -> MedianRange | None:
        """Return the processor time of `key` for each request in that of `other`, over the rounds with both."""
        ours, theirs = self._by_round(key, cost), self._by_round(other, cost)
        return median_range([ours[number] / theirs[number] for number in ours if number in theirs])

    def _by_round(self, key: Key, figure: Callable[[Sample], float]) -> Mapping[int, float]:
        return {one.round: figure(one) for one in self.samples if (one.contender, one.under) == key}


@dataclass(frozen=True, slots=True)
class CostTarget:
    """An upper bound for the processor time of a request, as a multiple of that of another contender."""

    name: str
    of: Key
    to: Key
    at_most: float

    def evaluate(self, statistics: Statistics) -> tuple[str, bool | None]:
        """Return what was measured, in words, and whether it is enough; None where it was not measured."""
        found = statistics.cost_ratio(self.of, self.to)
        if found is None:
            return "not measured", None
        return f"{found.median:.2f} ({found.low:.2f}-{found.high:.2f})", found.median <= self.at_most

    @property
    def demand(self) -> str:
        """Return the bound, in words."""
        return f"<= {self.at_most:.2f}"


@dataclass(frozen=True, slots=True)
class LatencyTarget:
    """An upper bound for the 99th percentile of response times, in milliseconds."""

    name: str
    of: Key
    below_ms: float

    def evaluate(self, figures: Statistics) -> tuple[str, bool | None]:
        """Return what was measured, in words, and whether it is enough; None where it was not measured."""
        found = figures.of(self.of, p99)
        if found is None:
            return "not measured", None
        return f"{found.median:.2f} ms ({found.low:.2f}-{found.high:.2f})", found.median < self.below_ms

    @property
    def demand(self) -> str:
        """Return the bound, in words."""
        return f"< {self.below_ms:g} ms"


Target = CostTarget | LatencyTarget


def median_range(values: Sequence[float]) -> MedianRange | None:
    """Return median, least and greatest; None without values."""
    return MedianRange(median(values), min(values), max(values)) if values else None


def rate(sample: Sample) -> float:
    """Return the requests per second."""
    return sample.measured.requests_per_second


def p99(sample: Sample) -> float:
    """Return the 99th percentile of response times, in milliseconds."""
    return sample.measured.p99_ms


def cost(sample: Sample) -> float:
    """Return the processor time for each request, in microseconds."""
    return sample.cpu_us


def _few(name: str) -> Key:
    return name, LoadLevel.FEW


TARGETS: Final[tuple[Target, ...]] = (
    CostTarget("cache hit / nginx return 204", _few("verifier"), _few("nginx-204"), 1.3),
    CostTarget("cache hit / Envoy with cache, hardened", _few("verifier"), _few("envoy-cached"), 1 / 3.5),
    CostTarget("new token / HAProxy, hardened", _few("verifier-uncached"), _few("haproxy"), 1.0),
    CostTarget("new token / Envoy without cache, hardened", _few("verifier-uncached"), _few("envoy"), 1 / 1.8),
    CostTarget("behind nginx / another nginx's 204", _few("nginx+verifier"), _few("nginx+204"), 1.1),
    LatencyTarget("cache hit, p99 at half load", ("verifier", LoadLevel.HALF), 1.0),
    LatencyTarget("cache hit, p99 at 1,000 connections", ("verifier", LoadLevel.MANY), 50.0),
)
