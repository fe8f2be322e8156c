"""The table of the bounds, for a terminal and for the documentation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.promises.bounds import HELD, MEASURED, Bound
from tests.support.processes import ROOT

PAGE: Final = ROOT / "docs/reference/promises.md"
RESULTS: Final = ROOT / "specs/007-proof/promises.json"
_INTRODUCTION: Final = """\
# Promises

Every bound that these documents state, with the value that `make promises` measured. It fails if one is broken.
Other work on the machine makes the figures worse, so run it on a quiet one. `python -m tests.promises --write` writes
this page.
"""


@dataclass(frozen=True)
class Results:
    """One run.

    Attributes:
        load: how busy the machine was before the run (mean of a minute, processes that can run).
        measured: the value of each bound that was measured.
        held: the tests that passed.
    """

    date: str
    machine: Mapping[str, str | int]
    load: float
    measured: Mapping[str, float]
    held: Sequence[str]


def verdict(bound: Bound, value: float | None) -> str:
    """Return whether a value keeps its bound; a bound without a value is broken."""
    if value is None:
        return "not measured"
    return "kept" if value <= bound.limit else "broken"


def is_kept(results: Results) -> bool:
    """Return whether every bound was measured and is kept, and every test passed."""
    verdicts = {verdict(bound, results.measured.get(name)) for name, bound in MEASURED.items()}
    return verdicts == {"kept"} and {one.test for one in HELD} <= set(results.held)


def as_text(results: Results) -> str:
    """Return the table for a terminal."""
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, (10, 12, 12, 0), strict=True))
        for row in _rows(results)
    )


def as_page(results: Results) -> str:
    """Return the page of the documentation."""
    machine = "{cpu}, {cores} cores, {system}".format(**results.machine)
    lines = [
        _INTRODUCTION,
        f"{results.date}, {machine}; load before the run {results.load:g}.",
        "",
        "## Measured",
        "",
        "| promise | bound | measured | verdict | published in |",
        "|---|---:|---:|---|---|",
    ]
    for name, bound in MEASURED.items():
        value = results.measured.get(name)
        document = bound.published[0]
        lines.append(
            f"| {bound.promise} | {bound.limit:g} {bound.unit} | {_shown(bound, value)} | {verdict(bound, value)} "
            f"| [{document}](../../{document}) |"
        )
    lines += [
        "",
        "## Held by tests",
        "",
        "These are exact, or too long to wait for. A test holds each at its value, mostly in simulated time.",
        "",
        "| promise | bound | verdict | test |",
        "|---|---:|---|---|",
    ]
    for one in HELD:
        kept = "kept" if one.test in results.held else "not shown"
        file, _, function = one.test.partition("::")
        lines.append(f"| {one.promise} | {one.bound} | {kept} | [{function}](../../tests/{file}) |")
    return "\n".join(lines) + "\n"


def _rows(results: Results) -> Iterator[tuple[str, str, str, str]]:
    yield "verdict", "bound", "measured", "promise"
    for name, bound in MEASURED.items():
        value = results.measured.get(name)
        yield verdict(bound, value), f"{bound.limit:g} {bound.unit}", _shown(bound, value), bound.promise
    for one in HELD:
        yield "kept" if one.test in results.held else "not shown", one.bound, "by a test", one.promise


def _shown(bound: Bound, value: float | None) -> str:
    return "-" if value is None else f"{value:.3g} {bound.unit}".rstrip()
