"""Thresholds on locust's statistics: what the project promises, met or not. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from loadtests.scenarios import AUTH, CALL, REJECTED_CALL, REVOCATION, Scenario
from loadtests.tables import VERDICTS, table

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

    def get_response_time_percentile(self, percent: float) -> int:
        """Return a percentile in milliseconds, rounded by locust to 1 ms below 100 ms and to 10 ms below 1 s."""


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """One row of the result.

    Attributes:
        name: the operation, or what was counted.
        count: responses, or the count itself.
        demanded: the bound in words; empty where there is none.
        met: None where there is no bound.
        p50, p95, p99: milliseconds; None where nothing was timed.
    """

    name: str
    count: int
    demanded: str
    met: bool | None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


def evaluate(
    operations: Mapping[str, OperationStats], failures: int, signing_keys: int, scenario: Scenario
) -> list[ThresholdResult]:
    """Evaluate a run.

    Args:
        operations: measured operations by name.
        failures: wrong responses since the start, the ramp included.
        signing_keys: different keys that signed the tokens seen.
        scenario: what must have been measured.
    """
    rows = list(_operation_rows(operations, scenario))
    if not any(stats.num_requests for stats in operations.values()):
        rows.append(ThresholdResult("responses", 0, ">= 1", met=False))
    if scenario.rotates_key:
        met = signing_keys >= MIN_SIGNING_KEYS
        rows.append(ThresholdResult("signing keys", signing_keys, f">= {MIN_SIGNING_KEYS}", met))
    return [*rows, ThresholdResult("failures", failures, "0", not failures)]


def all_met(results: list[ThresholdResult]) -> bool:
    """Return whether every bound was met."""
    return all(result.met is not False for result in results)


def _operation_rows(operations: Mapping[str, OperationStats], scenario: Scenario) -> Iterator[ThresholdResult]:
    names = [*_BOUNDS, *(name for name in sorted(operations) if name not in _BOUNDS)]
    for name in (name for name in names if name in operations or name in scenario.required):
        bounds = () if name in scenario.unbounded else _BOUNDS.get(name, ())
        demanded = ", ".join(f"p{share * 100:.0f} < {bound:g} ms" for share, bound in bounds)
        stats = operations.get(name)
        if stats is None or not stats.num_requests:
            yield ThresholdResult(name, 0, demanded, False if name in scenario.required else None)
            continue
        p50, p95, p99 = (float(stats.get_response_time_percentile(share)) for share in (0.5, 0.95, 0.99))
        met = all(stats.get_response_time_percentile(share) < bound for share, bound in bounds) if bounds else None
        yield ThresholdResult(name, stats.num_requests, demanded, met, p50, p95, p99)


def to_markdown(results: list[ThresholdResult], seconds: float) -> str:
    """Return the rows as a Markdown table, with the rate over `seconds`."""
    head = ["", "responses", "per second", "p50 ms", "p95 ms", "p99 ms", "demanded", "result"]
    return table(head, [_cells(row, seconds) for row in results])


def _cells(row: ThresholdResult, seconds: float) -> list[str]:
    rate = f"{row.count / seconds:,.1f}" if row.p50 is not None and seconds else ""
    times = ["" if value is None else f"{value:g}" for value in (row.p50, row.p95, row.p99)]
    return [row.name, f"{row.count:,}", rate, *times, row.demanded, VERDICTS[row.met]]
