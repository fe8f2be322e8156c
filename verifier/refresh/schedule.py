"""Computes when a document is refreshed next. Pure: no clock and no randomness of its own."""

import math
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
        request_interval: the least delay between requested attempts, as `RequestLimiter` says; 0 for no such limit.
    """

    interval: float
    max_age_bounds: tuple[float, float] | None
    max_backoff: float
    min_interval: float
    request_interval: float = 0.0

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


class RequestLimiter:
    """A rate limit of requested attempts: after one that found nothing new, the next waits for `interval` seconds.

    An attempt that found something new does not count, so that an issuer may rotate its key twice in a row. One that
    had to wait counts in any case: under a flood of requests there is one attempt per interval, whatever it finds.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._open_at = -math.inf
        self._waited = False

    def earliest(self, now: float) -> float:
        """Return when an attempt may begin that is requested at `now`."""
        self._waited = now < self._open_at
        return self._open_at if self._waited else now

    def attempted(self, started: float, *, found_new: bool) -> None:
        """Count the attempt that was requested."""
        if self._waited or not found_new:
            self._open_at = started + self._interval
