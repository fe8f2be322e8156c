"""Numbers that several worker processes share: a page each in memory that they inherit, joined when read.

A page is written by its worker alone and holds named numbers, so nothing is locked, nothing is lost when a
worker is killed (its successor takes the page over), and counting on the request path is one store.
"""

import math
import mmap
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_NAME_BYTES: Final = 640
_SLOTS: Final = 2048
_VALUES_BYTES: Final = _SLOTS * 8
_PAGE_BYTES: Final = _VALUES_BYTES + _SLOTS * _NAME_BYTES
_SEPARATOR: Final = "\x1f"

LATENCY_BUCKETS: Final = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1)
"""Upper bounds in seconds: a hit takes about a microsecond, a miss some tens of them."""


class _Kind(NamedTuple):
    help: str
    labels: tuple[str, ...]
    join: Callable[[Iterable[float]], float]
    counter: bool = False


class Name(Enum):
    """Every metric, with how the workers' numbers become one."""

    DECISIONS = _Kind("Answers given.", ("policy", "outcome", "reason"), sum, counter=True)
    CACHE_HITS = _Kind("Decisions given again from the cache.", (), sum, counter=True)
    CACHE_EVICTIONS = _Kind("Decisions let go to make room.", (), sum, counter=True)
    CACHE_ENTRIES = _Kind("Decisions held.", (), sum)
    CACHE_BYTES = _Kind("Estimated bytes of the decisions held.", (), sum)
    CONNECTIONS = _Kind("Open connections of gateways.", (), sum)
    JWKS_KEYS = _Kind("Usable keys of an issuer, in the worker that has fewest.", ("issuer",), min)
    JWKS_REFRESHED_TIMESTAMP_SECONDS = _Kind(
        "When the key set was last read in good order, in the worker that is furthest behind.",
        ("issuer",),
        min,
    )
    JWKS_FAILURES = _Kind("Key sets that were not taken.", ("issuer", "cause"), sum, counter=True)
    STATUS_LISTS = _Kind("Status lists of an issuer, in the worker that has fewest.", ("issuer",), min)
    STATUS_LIST_BYTES = _Kind("Bytes of the status lists held, decompressed, in all workers.", ("issuer",), sum)
    STATUS_LIST_REFRESHED_TIMESTAMP_SECONDS = _Kind(
        "When the aggregation and every list that it names were last confirmed, in the worker that is furthest "
        "behind; 0 while one was never.",
        ("issuer",),
        min,
    )
    STATUS_LIST_FAILURES = _Kind("Status lists that were not taken.", ("issuer", "cause"), sum, counter=True)
    RELOAD_FAILURES = _Kind("Policy files that were not taken.", (), sum, counter=True)
    SUPPRESSED_LOG_LINES = _Kind("Refusals that were not logged, over the rate limit.", (), sum, counter=True)
    DECISION_SECONDS = _Kind("Time to make a decision that was not in the cache.", ("part",), sum)
    CPU_SECONDS = _Kind("Processor time that the workers have used.", (), sum, counter=True)
    WORKERS = _Kind("Processes that share the listening socket, each with one core's worth of work.", (), sum)
    READY = _Kind("1 when every worker can decide for every issuer.", (), min)


class Page:
    """One worker's numbers."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        start = number * _PAGE_BYTES
        view = memoryview(memory)
        self.values = view[start : start + _VALUES_BYTES].cast("d")
        self._names = view[start + _VALUES_BYTES : start + _PAGE_BYTES]
        self._slots = {name: slot for slot, name in enumerate(self._written_names())}

    def slot(self, name: Name, *labels: str) -> int:
        """The index in `values` of a number, the same for ever. When the page is full, one that nobody reads."""
        key = _SEPARATOR.join((name.name, *labels))
        encoded = key.encode()[:_NAME_BYTES]
        slot = self._slots.get(key, len(self._slots))
        if slot == len(self._slots):
            if slot >= _SLOTS - 1:
                return _SLOTS - 1
            self._names[slot * _NAME_BYTES : slot * _NAME_BYTES + len(encoded)] = encoded
            self._slots[key] = slot
        return slot

    def set(self, name: Name, value: float, *labels: str) -> None:
        """Say how a thing is now."""
        self.values[self.slot(name, *labels)] = value

    def forget(self, name: Name, *labels: str) -> None:
        """Say nothing more of a thing, until it is set again: what is not followed is not stale."""
        self.set(name, math.nan, *labels)

    def add(self, name: Name, *labels: str, amount: float = 1) -> None:
        """Count."""
        self.values[self.slot(name, *labels)] += amount

    def numbers(self) -> Iterator[tuple[Name, tuple[str, ...], float]]:
        """All numbers, also those that another process wrote."""
        for slot, key in enumerate(self._written_names()):
            name, *labels = key.split(_SEPARATOR)
            yield Name[name], tuple(labels), self.values[slot]

    def _written_names(self) -> Iterator[str]:
        for start in range(0, (_SLOTS - 1) * _NAME_BYTES, _NAME_BYTES):
            name = bytes(self._names[start : start + _NAME_BYTES]).rstrip(b"\0")
            if not name:
                return
            yield name.decode(errors="replace")


class ConnectionCounts:
    """How many connections each worker holds: ours is written, those of the others are read."""

    def __init__(self, pages: Sequence[Page], ours: int) -> None:
        self._values, self._slot = pages[ours].values, pages[ours].slot(Name.CONNECTIONS)
        self._others = [
            (page.values, page.slot(Name.CONNECTIONS), page.slot(Name.READY))
            for number, page in enumerate(pages)
            if number != ours
        ]

    def tell(self, count: int) -> None:
        """Say how many are ours."""
        self._values[self._slot] = count

    def fewest_elsewhere(self) -> int | None:
        """Those of the ready worker that has fewest beside us; None if no other is ready."""
        return min((int(values[held]) for values, held, ready in self._others if values[ready]), default=None)


class LatencyHistogram:
    """Where a page counts how long decisions took."""

    def __init__(self, page: Page) -> None:
        self._values = page.values
        self._buckets = [page.slot(Name.DECISION_SECONDS, str(bound)) for bound in (*LATENCY_BUCKETS, "+Inf")]
        self._sum = page.slot(Name.DECISION_SECONDS, "sum")

    def observe(self, seconds: float) -> None:
        """Count one decision."""
        self._values[self._buckets[bisect_left(LATENCY_BUCKETS, seconds)]] += 1
        self._values[self._sum] += seconds


class Pages(Collector):
    """The pages of all workers. Made before the workers are forked, so that each inherits them."""

    def __init__(self, workers: int) -> None:
        self._memory = mmap.mmap(-1, workers * _PAGE_BYTES)
        self._pages = [Page(self._memory, number) for number in range(workers)]
        for page in self._pages:
            # From the beginning, or the first event would not be an increase.
            for name in Name:
                if not name.value.labels:
                    page.add(name, amount=0)
            page.set(Name.WORKERS, 1)

    def __getitem__(self, worker: int) -> Page:
        # Read anew: in memory that a dead predecessor wrote, a number keeps the place that it gave it.
        return Page(self._memory, worker)

    def connection_counts(self, worker: int) -> ConnectionCounts:
        """Of all workers, for one of them."""
        return ConnectionCounts(self._pages, worker)

    def joined(self) -> dict[tuple[Name, tuple[str, ...]], float]:
        """Every number over all workers."""
        found: dict[tuple[Name, tuple[str, ...]], list[float]] = {}
        for page in self._pages:
            for name, labels, value in page.numbers():
                if not math.isnan(value):
                    found.setdefault((name, labels), []).append(value)
        joined = {key: key[0].value.join(values) for key, values in found.items()}
        # Counted once on the request path, as a decision; told twice.
        joined[Name.CACHE_HITS, ()] = sum(
            value for (name, labels), value in joined.items() if name is Name.DECISIONS and labels[2] == "cached"
        )
        return joined

    def collect(self) -> Iterator[Metric]:
        """The Prometheus view of `joined`."""
        joined = self.joined()
        for name in Name:
            numbers = {labels: value for (found, labels), value in joined.items() if found is name}
            yield _histogram(numbers) if name is Name.DECISION_SECONDS else _family(name, numbers)


def _family(name: Name, numbers: dict[tuple[str, ...], float]) -> Metric:
    kind = name.value
    make = CounterMetricFamily if kind.counter else GaugeMetricFamily
    family = make(f"gatepass_verifier_{name.name.lower()}", kind.help, labels=kind.labels)
    for labels, value in sorted(numbers.items()):
        family.add_metric(labels, value)
    return family


def _histogram(numbers: dict[tuple[str, ...], float]) -> Metric:
    name = Name.DECISION_SECONDS
    family = HistogramMetricFamily(f"gatepass_verifier_{name.name.lower()}", name.value.help)
    total, buckets = 0.0, []
    for bound in (*map(str, LATENCY_BUCKETS), "+Inf"):
        total += numbers.get((bound,), 0)
        buckets.append((bound, total))
    family.add_metric((), buckets, numbers.get(("sum",), 0))
    return family
