"""Arithmetic over samples: medians with their range, ratios taken round by round, targets met or not.

A ratio is taken in each round, and then the median of the ratios: if the machine changes its speed between rounds,
both figures of a ratio change alike.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Generic, TypeVar

from loadtests.tables import VERDICTS, table

T = TypeVar("T")
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class MedianRange:
    """The median over the rounds, the least and the greatest."""

    median: float
    low: float
    high: float

    def in_words(self, places: int = 2, unit: str = "") -> str:
        """Return `median unit (low-high)`."""
        return f"{self.median:,.{places}f}{unit} ({self.low:,.{places}f}-{self.high:,.{places}f})"


def median_range(values: Sequence[float]) -> MedianRange | None:
    """Return median, least and greatest; None without values."""
    return MedianRange(median(values), min(values), max(values)) if values else None


@dataclass(frozen=True, slots=True)
class Target(Generic[T]):
    """A figure of each round of a run, and the bound of its median: `<`, `<=` or `>=`."""

    name: str
    figures: Callable[[T], Sequence[float]]
    comparison: str
    bound: float
    unit: str = ""

    def evaluate(self, run: T) -> tuple[str, bool | None]:
        """Return the figure in words, and whether it is within the bound; None where nothing was measured."""
        found = median_range(self.figures(run))
        if found is None:
            return "not measured", None
        return found.in_words(unit=self.unit), _COMPARISONS[self.comparison](found.median, self.bound)

    @property
    def demand(self) -> str:
        """Return the bound, in words."""
        return f"{self.comparison} {self.bound:.3g}{self.unit}"


def target_table(targets: Iterable[Target[T]], run: T) -> str:
    """Return the targets as a table."""
    results = ((target, *target.evaluate(run)) for target in targets)
    rows = [(target.name, target.demand, words, VERDICTS[met]) for target, words, met in results]
    return table(["targets (ratios round by round, then the median)", "demanded", "measured", "result"], rows)


def target_documents(targets: Iterable[Target[T]], run: T) -> list[dict[str, Any]]:
    """Return the targets for JSON."""
    results = ((target, *target.evaluate(run)) for target in targets)
    return [
        {"name": target.name, "demanded": target.demand, "measured": words, "met": met}
        for target, words, met in results
    ]
