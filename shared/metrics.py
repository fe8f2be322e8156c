"""Prometheus metrics of one process: those that issuer and verifier share, and functions that declare others."""

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.version import REVISION, VERSION


class ProcessMetrics:
    """The registry of a process, with its version and processor time.

    Args:
        prefix: of the names of all metrics.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.registry = CollectorRegistry()
        # The library's own collector of processor time has no prefix and works on Linux only.
        self.computed_counter("cpu_seconds", "Processor time that the process has used.", time.process_time)
        build = Info(f"{prefix}build", "Version of Gatepass, and revision of its source.", registry=self.registry)
        build.info({"version": VERSION, "revision": REVISION})

    def counter(self, name: str, documentation: str, *labels: str) -> Counter:
        """Declare a counter."""
        return Counter(self._prefix + name, documentation, labels, registry=self.registry)

    def gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        """Declare a gauge."""
        return Gauge(self._prefix + name, documentation, labels, registry=self.registry)

    def histogram(self, name: str, documentation: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        """Declare a histogram of seconds, with the upper bounds of its buckets."""
        return Histogram(self._prefix + name, documentation, labels, buckets=buckets, registry=self.registry)

    def computed_counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Declare a counter that is computed when it is read."""
        self.registry.register(_ComputedCounter(self._prefix + name, documentation, read))


class _ComputedCounter(Collector):
    def __init__(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        self._name, self._documentation, self._read = name, documentation, read

    def collect(self) -> Iterator[Metric]:
        """Yield the sample."""
        yield CounterMetricFamily(self._name, self._documentation, value=self._read())
