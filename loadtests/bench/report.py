"""The report of a run: a table and JSON. Only complete, clean runs get here."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtests.bench.contenders import Contender
from loadtests.bench.rounds import LoadLevel, Sample
from loadtests.bench.statistics import TARGETS, Statistics, cost, rate

CEILINGS: Final = {False: "nginx-204", True: "nginx+204"}
"""The contender that the cost of each group is compared with: directly, and behind nginx."""
BUSY_ENOUGH: Final = 0.9
_VERDICTS: Final = {True: "met", False: "NOT MET", None: "-"}


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: what was compared, on what, and every sample.

    Attributes:
        seconds: how long each sample took.
        others: share of our cores, 0 to 1, that other programs used before the run.
    """

    contenders: Sequence[Contender]
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    seconds: int
    others: float
    samples: Sequence[Sample]

    @property
    def figures(self) -> Statistics:
        """Return the statistics of the samples."""
        return Statistics(self.samples)

    @property
    def rounds(self) -> int:
        """Return the number of completed rounds."""
        return len({sample.round for sample in self.samples})


def to_text(run: Run) -> str:
    """Return the table, the half-load lines, the targets and notes on the figures as text."""
    sections = [_head(run), _table(run), _half_load(run), _targets(run), _notes(run)]
    return "\n\n".join(text for text in ("\n".join(lines) for lines in sections) if text)


def to_json(run: Run) -> str:
    """Return all samples as JSON."""
    evaluated = [(target, *target.evaluate(run.figures)) for target in TARGETS]
    document: dict[str, Any] = {
        "machine": run.machine,
        "versions": run.versions,
        "seconds_per_sample": run.seconds,
        "busy_with_other_programs": run.others,
        "contenders": {contender.name: contender.label for contender in run.contenders},
        "targets": [
            {"name": target.name, "demand": target.demand, "measured": words, "met": met}
            for target, words, met in evaluated
        ],
        "samples": [dataclasses.asdict(sample) for sample in run.samples],
    }
    return json.dumps(document, indent=1) + "\n"


def _head(run: Run) -> Iterator[str]:
    yield f"{run.machine['cpu']}, {run.machine['cores']} cores, Linux {run.machine['kernel']}"
    yield "one core for the server, another for wrk; RS256, 1,000 tokens, kept-alive connections, no two heads alike"
    yield f"medians of {run.rounds} rounds of {run.seconds} s; in brackets the lowest and highest round"


def _table(run: Run) -> Iterator[str]:
    yield (
        f"{'':<42}{'processor':>10}{'ratio':>7}{'32 connections':>16}{'':>17}{'p50':>7}{'p99':>7}{'p99.9':>8}"
        f"{'1,000 conn.':>13}{'p99':>8}"
    )
    yield (
        f"{'':<42}{'us/request':>10}{'':>7}{'requests/s':>16}{'':>17}{'ms':>7}{'ms':>7}{'ms':>8}"
        f"{'requests/s':>13}{'ms':>8}"
    )
    for behind_nginx in (False, True):
        group = [one for one in run.contenders if one.behind_nginx == behind_nginx]
        if group:
            ceiling = CEILINGS[behind_nginx]
            heading = "behind nginx auth_request, on the same core" if behind_nginx else "requested directly"
            yield f"{heading}; ratio to {ceiling}"
            yield from (_row(run.figures, contender, ceiling) for contender in group)


def _row(figures: Statistics, contender: Contender, ceiling: str) -> str:
    few, many = (contender.name, LoadLevel.FEW), (contender.name, LoadLevel.MANY)
    found = figures.throughput(few)
    if found is None:
        return f"  {contender.label:<40}{'not measured':>15}"
    spent, ratio = figures.of(few, cost), figures.cost_ratio(few, (ceiling, LoadLevel.FEW))
    crowd, latencies = figures.throughput(many), _latencies(figures, few)
    return (
        f"  {contender.label:<40}{f'{spent.median:.1f}' if spent else '-':>10}"
        f"{f'{ratio.median:.2f}' if ratio else '-':>7}"
        f"{found.median:>16,.0f}{f'({found.low:,.0f}-{found.high:,.0f})':>17}{latencies}"
        f"{f'{crowd.median:,.0f}' if crowd else '-':>13}{_latencies(figures, many)[8:16]}"
    )


def _latencies(figures: Statistics, key: tuple[str, LoadLevel]) -> str:
    found = (
        figures.of(key, lambda sample: sample.measured.p50_ms),
        figures.of(key, lambda sample: sample.measured.p99_ms),
        figures.of(key, lambda sample: sample.measured.p999_ms),
    )
    return "".join(f"{one.median:>8.2f}" if one else f"{'-':>8}" for one in found)


def _half_load(run: Run) -> Iterator[str]:
    for contender in run.contenders:
        key = (contender.name, LoadLevel.HALF)
        sent, peak = run.figures.throughput(key), run.figures.throughput((contender.name, LoadLevel.FEW))
        if sent and peak:
            yield (
                f"at half load: {contender.label}, {sent.median:,.0f}/s ({sent.median / peak.median:.0%} of "
                f"its peak): p50, p99, p99.9 ms{_latencies(run.figures, key)}"
            )


def _targets(run: Run) -> Iterator[str]:
    yield f"{'targets (ratios round by round, then the median)':<50}{'demanded':>10}  measured"
    for target in TARGETS:
        words, met = target.evaluate(run.figures)
        yield f"  {target.name:<48}{target.demand:>10}  {words:<28}{_VERDICTS[met]}"


def _notes(run: Run) -> Iterator[str]:
    """Yield notes: a server that was not the bottleneck has only a lower bound of its throughput, for example."""
    for contender in run.contenders:
        for under in (LoadLevel.FEW, LoadLevel.MANY):
            busy = run.figures.of((contender.name, under), lambda sample: sample.busy.server)
            if busy and busy.median < BUSY_ENOUGH:
                yield f"note: {contender.name}, {under}: core {busy.median:.0%} busy, so this is a lower bound"
    if run.others > 1 - BUSY_ENOUGH:
        yield f"note: other programs used {run.others:.0%} of a core before the run: the machine was not idle"
    stolen = max((sample.busy.stolen for sample in run.samples), default=0.0)
    if stolen > 1 - BUSY_ENOUGH:
        yield f"note: the host took up to {stolen:.0%} of the cores from us during a sample"
    wide = [one.name for one in run.contenders if _is_wide(run.figures, one)]
    if wide:
        yield f"note: over 15 % between lowest and highest round: {', '.join(wide)}"


def _is_wide(figures: Statistics, contender: Contender) -> bool:
    found = figures.of((contender.name, LoadLevel.FEW), rate)
    return found is not None and found.high - found.low > 0.15 * found.median
