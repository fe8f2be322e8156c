"""Thresholds on locust's statistics: what the project promises, met or not. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from loadtests.scenarios import AUTH, CALL, REJECTED_CALL, REVOCATION, Scenario

AUTH_P95_MS: Final = 200.0
CALL_MS: Final = 50.0
REVOCATION_P99_MS: Final = 3000.0
MIN_SIGNING_KEYS: Final = 2

_BOUNDS: Final[Mapping[str, tuple[tuple[float, float], ...]]] = {
    **dict.fromkeys(AUTH, ((0.95, AUTH_P95_MS),)),
    CALL: ((0.95, CALL_MS), (0.99, CALL_MS)),
    REJECTED_CALL: ((0.95, CALL_MS), (0.99, CALL_MS)),
    REVOCATION: ((0.99, REVOCATION_P99_MS),),
}
"""Operation → percentiles (0 to 1) and their bounds in milliseconds."""


class OperationStats(Protocol):
    """Statistics of one operation, as in a `StatsEntry` of locust."""

    name: str
    num_requests: int
    num_failures: int

    def get_response_time_percentile(self, percent: float) -> int:
        """Return a percentile in milliseconds, rounded by locust to 1 ms below 100 ms and to 10 ms below 1 s."""


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """One row of the result.

    Attributes:
        name: the operation, or what was counted.
        count: responses, or the count itself.
        p50, p95, p99: milliseconds; None where nothing was timed.
        demanded: the bound in words; empty where there is none.
        met: None where there is no bound.
    """

    name: str
    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    demanded: str
    met: bool | None


def evaluate(
    operations: Mapping[str, OperationStats], failures: int, signing_keys: int, scenario: Scenario | None
) -> list[ThresholdResult]:
    """Evaluate a run.

    Args:
        operations: measured operations by name.
        failures: wrong responses since the start, the ramp included.
        signing_keys: different keys that signed the tokens seen.
        scenario: what must have been measured; None demands nothing in particular.
    """
    rows = list(_operation_rows(operations, scenario))
    if scenario is not None and scenario.rotates_key:
        met = signing_keys >= MIN_SIGNING_KEYS
        rows.append(_count_row("signing keys", signing_keys, f">= {MIN_SIGNING_KEYS}", met=met))
    return [*rows, _count_row("failures", failures, "0", met=not failures)]


def all_met(results: list[ThresholdResult]) -> bool:
    """Return whether every bound was met."""
    return all(result.met is not False for result in results)


def _operation_rows(operations: Mapping[str, OperationStats], scenario: Scenario | None) -> Iterator[ThresholdResult]:
    required = () if scenario is None else scenario.required
    unbounded = () if scenario is None else scenario.unbounded
    names = [*_BOUNDS, *(name for name in sorted(operations) if name not in _BOUNDS)]
    for name in (name for name in names if name in operations or name in required):
        bounds = () if name in unbounded else _BOUNDS.get(name, ())
        demanded = ", ".join(f"p{share * 100:.0f} < {bound:g} ms" for share, bound in bounds)
        stats = operations.get(name)
        if stats is None or not stats.num_requests:
            yield ThresholdResult(name, 0, None, None, None, demanded, False if name in required else None)
            continue
        p50, p95, p99 = (float(stats.get_response_time_percentile(share)) for share in (0.5, 0.95, 0.99))
        met = all(stats.get_response_time_percentile(share) < bound for share, bound in bounds) if bounds else None
        yield ThresholdResult(name, stats.num_requests, p50, p95, p99, demanded, met)


def _count_row(name: str, count: int, demanded: str, *, met: bool) -> ThresholdResult:
    return ThresholdResult(name, count, None, None, None, demanded, met)


def to_markdown(results: list[ThresholdResult], seconds: float) -> str:
    """Return the rows as a Markdown table, with the rate over `seconds`."""
    lines = [
        "| | responses | per second | p50 ms | p95 ms | p99 ms | demanded | result |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in results:
        timed = row.p50 is not None
        rate = f"{row.count / seconds:,.1f}" if timed and seconds else ""
        times = [f"{value:g}" if value is not None else "" for value in (row.p50, row.p95, row.p99)]
        verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
        lines.append("| " + " | ".join([row.name, f"{row.count:,}", rate, *times, row.demanded, verdict]) + " |")
    return "\n".join(lines)
