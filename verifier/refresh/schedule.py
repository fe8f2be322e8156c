"""Says when a document is refreshed next. Pure: no clock and no randomness of its own."""

from dataclasses import dataclass
from typing import Final

_JITTER: Final = (0.75, 1.0)
"""Spreads the requests of many verifiers that started, or lost a source, at the same moment."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times at which a document is refreshed, in seconds.

    Attributes:
        interval: between refreshes when the source does not say.
        max_age_bounds: of what the source says by `max-age`; None to ignore it.
        max_backoff: the longest delay after failures.
        min_interval: the least delay between attempts when a refresh is requested, however often that is.
    """

    interval: float
    max_age_bounds: tuple[float, float] | None
    max_backoff: float
    min_interval: float

    def delay(self, failures: int, max_age: float | None, fraction: float) -> float:
        """Return the seconds between the start of an attempt and the next.

        Args:
            failures: in a row, this attempt included; 0 after a success.
            max_age: what the source said.
            fraction: from 0 to 1, at random.
        """
        seconds = self.interval
        if failures:
            # Bounded before the power is taken: a source may be down for weeks.
            seconds = min(2.0 ** min(failures - 1, 32), self.max_backoff)
        elif max_age is not None and self.max_age_bounds is not None:
            least, most = self.max_age_bounds
            seconds = min(max(max_age, least), most)
        return seconds * (_JITTER[0] + (_JITTER[1] - _JITTER[0]) * fraction)
