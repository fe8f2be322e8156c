"""The report of a run: tables, targets and JSON. Only complete, clean runs get here."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from loadtests import machine
from loadtests.bench.contenders import Contender
from loadtests.bench.rounds import LoadLevel, Sample
from loadtests.bench.statistics import MedianRange, Target, median_range, target_documents, target_table
from loadtests.tables import table

HEADINGS: Final = {False: "requested directly", True: "behind nginx auth_request, both on one core"}
CEILINGS: Final = {False: "nginx-204", True: "nginx+204"}
"""The contender that checks nothing in each group, with which the costs are compared: directly, and behind nginx."""
BUSY_ENOUGH: Final = 0.9

Key = tuple[str, LoadLevel]
"""A contender and a load."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: the contenders, the machine, the versions, and every sample.

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

    def of(self, key: Key, figure: Callable[[Sample], float]) -> MedianRange | None:
        """Return median and range of a figure over the rounds; None where nothing was measured."""
        return median_range(list(self.by_round(key, figure).values()))

    def by_round(self, key: Key, figure: Callable[[Sample], float]) -> dict[int, float]:
        """Return a figure of each round, by the number of the round."""
        return {one.round: figure(one) for one in self.samples if (one.contender, one.under) == key}

    def cost_ratios(self, key: Key, other: Key) -> list[float]:
        """Return the processor time for each request of `key` divided by that of `other`, for rounds with both."""
        ours, theirs = self.by_round(key, cost), self.by_round(other, cost)
        return [ours[number] / theirs[number] for number in ours if number in theirs]


def rate(sample: Sample) -> float:
    """Return the requests per second."""
    return sample.measured.requests_per_second


def p99(sample: Sample) -> float:
    """Return the 99th percentile of response times, in milliseconds."""
    return sample.measured.p99_ms


def cost(sample: Sample) -> float:
    """Return the processor time for each request, in microseconds."""
    return sample.cpu_us


def _cost_target(name: str, of: str, to: str, at_most: float) -> Target[Run]:
    return Target(name, lambda run: run.cost_ratios((of, LoadLevel.FEW), (to, LoadLevel.FEW)), "<=", at_most)


def _p99_target(name: str, under: LoadLevel, below_ms: float) -> Target[Run]:
    return Target(name, lambda run: list(run.by_round(("verifier", under), p99).values()), "<", below_ms, " ms")


TARGETS: Final = (
    _cost_target("cache hit / nginx return 204", "verifier", "nginx-204", 1.3),
    _cost_target("cache hit / Envoy with cache, hardened", "verifier", "envoy-cached", 1 / 3.5),
    _cost_target("new token / HAProxy, hardened", "verifier-uncached", "haproxy", 1.0),
    _cost_target("new token / Envoy without cache, hardened", "verifier-uncached", "envoy", 1 / 1.8),
    _cost_target("behind nginx / another nginx's 204", "nginx+verifier", "nginx+204", 1.1),
    _p99_target("cache hit, p99 at half load", LoadLevel.HALF, 1.0),
    _p99_target("cache hit, p99 at 1,000 connections", LoadLevel.MANY, 50.0),
)


def to_text(run: Run) -> str:
    """Return the tables, the half-load lines, the targets and notes on the figures as text."""
    tables = [_table(run, behind_nginx=behind_nginx) for behind_nginx in (False, True)]
    sections = [_head(run), *tables, "\n".join(_half_load(run)), target_table(TARGETS, run), "\n".join(_notes(run))]
    return "\n\n".join(text for text in sections if text)


def to_json(run: Run) -> str:
    """Return all samples as JSON."""
    document = {
        "machine": run.machine,
        "versions": run.versions,
        "seconds_per_sample": run.seconds,
        "busy_with_other_programs": run.others,
        "contenders": {contender.name: contender.label for contender in run.contenders},
        "targets": target_documents(TARGETS, run),
        "samples": [dataclasses.asdict(sample) for sample in run.samples],
    }
    return json.dumps(document, indent=1) + "\n"


def _head(run: Run) -> str:
    rounds = len({sample.round for sample in run.samples})
    return (
        f"{machine.in_words(run.machine)}\n"
        "one core for the server, another for wrk; RS256, 1,000 tokens, kept-alive connections, no two heads alike\n"
        f"medians of {rounds} rounds of {run.seconds} s; in brackets the lowest and highest round"
    )


def _table(run: Run, *, behind_nginx: bool) -> str:
    group = [one for one in run.contenders if one.behind_nginx == behind_nginx]
    ceiling = CEILINGS[behind_nginx]
    columns = ("us/request", f"ratio to {ceiling}", "32 connections, requests/s", "p50 ms", "p99 ms", "p99.9 ms")
    head = [HEADINGS[behind_nginx], *columns, "1,000 connections, requests/s", "p99 ms"]
    return table(head, [_row(run, one, ceiling) for one in group]) if group else ""


def _row(run: Run, contender: Contender, ceiling: str) -> list[str]:
    few, many = (contender.name, LoadLevel.FEW), (contender.name, LoadLevel.MANY)
    found = run.of(few, rate)
    if found is None:
        return [contender.label, "not measured", *[""] * 7]
    ratio = median_range(run.cost_ratios(few, (ceiling, LoadLevel.FEW)))
    return [
        contender.label,
        _median(run.of(few, cost), 1),
        _median(ratio, 2),
        found.in_words(0),
        *_latencies(run, few),
        _median(run.of(many, rate), 0),
        _median(run.of(many, p99), 2),
    ]


def _latencies(run: Run, key: Key) -> list[str]:
    """Return p50, p99 and p99.9 in milliseconds."""
    found = (
        run.of(key, lambda sample: sample.measured.p50_ms),
        run.of(key, p99),
        run.of(key, lambda sample: sample.measured.p999_ms),
    )
    return [_median(one, 2) for one in found]


def _median(found: MedianRange | None, places: int) -> str:
    return f"{found.median:,.{places}f}" if found else "-"


def _half_load(run: Run) -> Iterator[str]:
    for contender in run.contenders:
        key = (contender.name, LoadLevel.HALF)
        sent, peak = run.of(key, rate), run.of((contender.name, LoadLevel.FEW), rate)
        if sent and peak:
            yield (
                f"at half load: {contender.label}, {sent.median:,.0f}/s ({sent.median / peak.median:.0%} of "
                f"its peak): p50, p99, p99.9 ms {', '.join(_latencies(run, key))}"
            )


def _notes(run: Run) -> Iterator[str]:
    """Yield reasons to read figures with care, such as a server whose core was not busy: it could do more."""
    for contender in run.contenders:
        for under in (LoadLevel.FEW, LoadLevel.MANY):
            busy = run.of((contender.name, under), lambda sample: sample.busy.server)
            if busy and busy.median < BUSY_ENOUGH:
                yield f"note: {contender.name}, {under}: core {busy.median:.0%} busy, so this is a lower bound"
    if run.others > 1 - BUSY_ENOUGH:
        yield f"note: other programs used {run.others:.0%} of a core before the run: the machine was not idle"
    stolen = max((sample.busy.stolen for sample in run.samples), default=0.0)
    if stolen > 1 - BUSY_ENOUGH:
        yield f"note: the host took up to {stolen:.0%} of the cores from us during a sample"
    wide = [one.name for one in run.contenders if _is_wide(run, one)]
    if wide:
        yield f"note: over 15 % between lowest and highest round: {', '.join(wide)}"


def _is_wide(run: Run, contender: Contender) -> bool:
    found = run.of((contender.name, LoadLevel.FEW), rate)
    return found is not None and found.high - found.low > 0.15 * found.median
