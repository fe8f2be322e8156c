"""Hours of metrics, extended from a few scrapes of real processes, and the alerts that fire in them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from tests.support.monitoring import RULES, promtool, rules, selectors

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_RANGE: Final = re.compile(r"\[(\d+[smhd])\](?: offset (\d+[smhd]))?")


@dataclass(frozen=True)
class Pace:
    """Seconds between the scrapes of a history, and between evaluations of the rules."""

    scrape: int
    evaluation: int


DEPLOYED: Final = Pace(10, 10)
"""As in `deploy/prometheus/prometheus.yml`."""
SLOWEST: Final = Pace(60, 120)
"""The longest interval that the rules allow, since evaluations take most of promtool's time."""


@dataclass(frozen=True)
class Series:
    """A metric with its labels."""

    metric: str
    labels: frozenset[tuple[str, str]]

    def __str__(self) -> str:
        """Return it as Prometheus writes it, with sorted labels."""
        return f"{self.metric}{{{', '.join(f'{name}={json.dumps(value)}' for name, value in sorted(self.labels))}}}"


@dataclass(frozen=True)
class Scrape:
    """Samples of a process at one moment, without metrics that no rule reads.

    Attributes:
        at: time of the scrape, in seconds since 1970.
        counters: samples that only grow, buckets of histograms among them.
        gauges: all other samples.
    """

    at: float
    counters: dict[Series, float]
    gauges: dict[Series, float]


History = dict[Series, Sequence[float | None]]
"""The values of each series, one per scrape; None where it has none."""


@cache
def read_metrics() -> frozenset[str]:
    """Return the names of the metrics that rules read, without those that rules record."""
    read = {found.metric for rule in rules() for found in selectors(rule["expr"])}
    return frozenset(metric for metric in read if ":" not in metric)


def read_scrape(job: str, text: str, at: float) -> Scrape:
    """Parse the metrics of a process; add the labels and the metric `up` of Prometheus."""
    target = {"job": job, "instance": f"{job}-1"}
    counters: dict[Series, float] = {}
    gauges = {Series("up", frozenset(target.items())): 1.0}
    for family in text_string_to_metric_families(text):
        samples = counters if family.type in {"counter", "histogram"} else gauges
        for sample in family.samples:
            if sample.name in read_metrics():
                samples[Series(sample.name, frozenset({**sample.labels, **target}.items()))] = sample.value
    return Scrape(at, counters, gauges)


def extend(scrapes: Sequence[Scrape], seconds: int, pace: Pace, refreshed_every: Mapping[str, int]) -> History:
    """Return the history of a process for `seconds`, if it continues as between its scrapes.

    A counter grows at the rate at which it grew. A gauge repeats its values. A gauge that is a time repeats its ages
    if it changed, else it stays.

    Args:
        seconds: length of the history, which begins at 0 with the last scrape.
        refreshed_every: seconds between changes, by metric, of times that change too seldom for the scrapes.
    """
    first, last = scrapes[0], scrapes[-1]
    times = range(0, seconds + 1, pace.scrape)
    history: History = {}
    for series, value in last.counters.items():
        # A counter that was not there before its first event was 0.
        rate = (value - first.counters.get(series, 0.0)) / (last.at - first.at)
        history[series] = [value + rate * time for time in times]
    for series, value in last.gauges.items():
        seen = [(scrape.at, scrape.gauges[series]) for scrape in scrapes if series in scrape.gauges]
        if series.metric in refreshed_every:
            history[series] = [time - time % refreshed_every[series.metric] for time in times]
        elif not series.metric.endswith("_timestamp_seconds"):
            history[series] = [seen[index % len(seen)][1] for index in range(len(times))]
        elif len({moment for _, moment in seen}) == 1:
            history[series] = [value - last.at] * len(times)
        else:
            ages = [at - moment for at, moment in seen]
            history[series] = [time - ages[index % len(ages)] for index, time in enumerate(times)]
    return history


def alerts_that_fire(history: History, pace: Pace, folder: Path) -> set[str]:
    """Return the alerts that fire at any time of a history."""
    seconds = pace.scrape * max(map(len, history.values()))
    firing = f'max by (alertname) (max_over_time(ALERTS{{alertstate="firing"}}[{seconds}s]))'
    test = {
        "interval": f"{pace.scrape}s",
        "input_series": [
            {"series": str(series), "values": " ".join("_" if value is None else str(value) for value in values)}
            for series, values in history.items()
        ],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{seconds}s", "exp_samples": []}],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": f"{pace.evaluation}s", "tests": [test]}
    file = folder / "history.test.yml"
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML, too
    done = promtool("test", "rules", str(file))
    # It reports what fires as samples that were not expected.
    output = done.stdout + done.stderr
    found = set(re.findall(r'alertname=\\*"(\w+)', output))
    assert bool(done.returncode) == bool(found), output
    return found


def longest_wait() -> int:
    """Return the longest range of an alert and its `for` together, in seconds."""
    recorded = {rule["record"]: _look_back(rule["expr"]) for rule in rules() if "record" in rule}
    waits = [
        _look_back(rule["expr"])
        + max((recorded.get(found.metric, 0) for found in selectors(rule["expr"])), default=0)
        + _seconds(rule.get("for", "0s"))
        for rule in rules()
    ]
    return max(waits)


def _look_back(expression: str) -> int:
    ranges = _RANGE.findall(expression)
    return max((_seconds(length) + _seconds(offset or "0s") for length, offset in ranges), default=0)


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]]
