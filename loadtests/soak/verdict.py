"""The verdict of a soak run: growth in its second half, compared with the published growth. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression
from typing import Final

from loadtests.soak.sampling import Sample
from loadtests.tables import VERDICTS, table

MIB: Final = 1024 * 1024
MEMORY_MIB_AN_HOUR: Final = 5.0
DESCRIPTORS_AN_HOUR: Final = 5.0
"""Connections come and go, so a line through their number is not exactly flat."""

STATUS_LIST_BYTES: Final = 512 * 1024
"""Largest status list that verifiers read (contract E)."""

BYTES_PER_ROW: Final[Mapping[str, float]] = {"users": 360, "sessions": 524, "audit_events": 344}
"""Published size of a row with its indexes (docs/operations/sizing.md). These tables get a row with each event."""

ROW_SLACK: Final = 2.0
"""The published figures are of compacted tables; tables in use hold dead rows until autovacuum removes them."""

UNAVAILABLE: Final = "unavailable: 503"
"""The name of a 503 in the statistics of the load. It is the right response of an overloaded service."""

_MIN_ROWS: Final = 1000
"""Tables grow by pages, so the size of few rows is not meaningful."""

_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the verdict. `met` is None where growth is only reported."""

    name: str
    start: str
    end: str
    growth: str
    bound: str
    met: bool | None


def evaluate(samples: Sequence[Sample], failures: Sequence[tuple[str, str, int]], rotations: int) -> list[Finding]:
    """Evaluate a run.

    Args:
        samples: at least four, in the order of time.
        failures: responses other than the expected ones: operation, failure, count.
        rotations: signing keys that were created during the run.
    """
    kids = {kid for sample in samples for kid in sample.keys}
    before, after = (str(len(sample.keys)) for sample in (samples[0], samples[-1]))
    signed = f"{len(kids)} published in turn"
    unavailable = sum(count for _, failure, count in failures if failure.startswith(UNAVAILABLE))
    wrong = sum(count for *_, count in failures) - unavailable
    return [
        *_parts(samples),
        *_tables(samples),
        *_status_lists(samples),
        Finding("keys", before, after, signed, str(rotations + 1), len(kids) == rotations + 1),
        Finding("wrong responses", "0", f"{wrong:,}", "", "0", not wrong),
        Finding("503, by a machine that others use too", "0", f"{unavailable:,}", "", "", None),
    ]


def _parts(samples: Sequence[Sample]) -> Iterator[Finding]:
    for part in samples[-1].parts:
        # Each backend of PostgreSQL caches the catalogue that it has read, and keeps files of tables open.
        is_bounded = part != "PostgreSQL"
        memory = [sample.parts[part].memory_bytes / MIB for sample in samples]
        descriptors = [float(sample.parts[part].descriptors) for sample in samples]
        yield _growth(f"{part}: memory, MiB", samples, memory, MEMORY_MIB_AN_HOUR if is_bounded else None)
        yield _growth(f"{part}: descriptors", samples, descriptors, DESCRIPTORS_AN_HOUR if is_bounded else None)


def _growth(name: str, samples: Sequence[Sample], values: Sequence[float], bound: float | None) -> Finding:
    """Return the growth by a straight line through the second half of the samples."""
    half = len(samples) // 2
    growth = linear_regression([sample.seconds for sample in samples[half:]], values[half:]).slope * _HOUR
    first, last = (f"{value:,.1f}".removesuffix(".0") for value in (values[0], values[-1]))
    demanded, met = ("", None) if bound is None else (f"<= {bound:g} an hour", growth <= bound)
    return Finding(name, first, last, f"{growth:+.1f} an hour", demanded, met)


def _tables(samples: Sequence[Sample]) -> Iterator[Finding]:
    for name, last in samples[-1].tables.items():
        first = samples[0].tables[name]
        rows = last.rows - first.rows
        added = last.bytes - first.bytes
        each = added / rows if rows > 0 else None
        growth = f"{rows:+,} rows, {added / MIB:+.2f} MiB" + (f", {each:,.0f} B each" if each is not None else "")
        bound = BYTES_PER_ROW.get(name, 0.0) * ROW_SLACK if rows >= _MIN_ROWS else 0.0
        yield Finding(
            f"table {name}, rows",
            f"{first.rows:,}",
            f"{last.rows:,}",
            growth,
            f"<= {bound:,.0f} B each" if bound else "",
            each is None or each <= bound if bound else None,
        )


def _status_lists(samples: Sequence[Sample]) -> Iterator[Finding]:
    first, last = samples[0].status_lists, samples[-1].status_lists
    largest = max(max(sample.status_lists.values(), default=0) for sample in samples)
    yield Finding(
        "status lists, bytes",
        f"{sum(first.values()):,} in {len(first)}",
        f"{sum(last.values()):,} in {len(last)}",
        f"largest {largest:,}",
        f"<= {STATUS_LIST_BYTES:,} each",
        largest <= STATUS_LIST_BYTES,
    )


def to_markdown(findings: Sequence[Finding]) -> str:
    """Return the findings as a Markdown table."""
    rows = [(one.name, one.start, one.end, one.growth, one.bound, VERDICTS[one.met]) for one in findings]
    return table(["", "start", "end", "growth", "bound", "result"], rows)
