"""What a run or a sweep says: for people as text and Markdown, for programs as JSON and CSV, for the eye as SVG."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtests.benchmark.chart import Bar, Group
from loadtests.benchmark.chart import draw as draw_bars
from loadtests.journeys.costs import LOCUST
from loadtests.journeys.curve import Curve, Panel
from loadtests.journeys.curve import draw as draw_curves
from loadtests.journeys.kinds import AUTH, CALL, REFUSED_CALL
from loadtests.journeys.knee import KEPT_SHARE, Knee, Step, find_knee
from loadtests.journeys.settings import Settings
from loadtests.journeys.verdict import AUTH_P95_MS, VALIDATION_MS, Line, Verdict, faults_of, judge, operations_of

BUSY_SHARE: Final = 0.8
"""Of one core: where locust uses more, its users wait for each other, and their times contain that."""

_VERDICTS: Final = {True: "met", False: "NOT MET", None: ""}


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        figures: as `recorder` documents them.
        machine: what it ran on.
        versions: of what made the load.
        at: when it ended, in words.
    """

    settings: Settings
    figures: Mapping[str, Any]
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    at: str

    @property
    def verdict(self) -> Verdict:
        """Of a run with one number of users."""
        return judge(self.settings.journey, self.figures, self.phase)

    @property
    def phase(self) -> str:
        """The one that is reported."""
        return str(self.settings.users)

    @property
    def steps(self) -> list[Step]:
        """Of a sweep, those that were reached."""
        return [step for users in self.settings.steps if (step := _step(self.figures, users)) is not None]


def to_text(run: Run) -> str:
    """The verdict of a run."""
    rows = [*_table(run)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  ".join(_aligned(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join([*_head(run), "", *table, "", *_costs(run, run.phase), *_faults(run), _conclusion(run)])


def to_markdown(run: Run) -> str:
    """The same for a page."""
    rows = [*_table(run)]
    table = [
        _markdown_row(rows[0]),
        _markdown_row(["---", *("---:",) * 5, "---", "---"]),
        *map(_markdown_row, rows[1:]),
    ]
    body = [*_head(run), "", *table, "", *_costs(run, run.phase), *_faults(run)]
    return (
        "\n".join(
            [
                "# A load run",
                "",
                *_paragraphs([f"Written by `make load LOAD_ARGS=--publish`, {run.at}.", *body, _conclusion(run)]),
            ]
        )
        + "\n"
    )


def to_json(run: Run) -> str:
    """Everything, so that others can do their own arithmetic."""
    settings = run.settings
    document: dict[str, Any] = {
        "at": run.at,
        "machine": run.machine,
        "versions": run.versions,
        "settings": {
            "journey": settings.journey.name,
            "users": list(settings.steps),
            "duration_seconds": settings.duration,
            "ramp_seconds": settings.ramp,
            "think_seconds": settings.think,
            "accounts": settings.people,
            "host": settings.host or "one-machine stack",
        },
        **run.figures,
    }
    if len(settings.steps) == 1:
        document["verdict"] = [
            {"name": line.name, "demanded": line.demanded, "met": line.met} for line in run.verdict.lines
        ]
    else:
        document["knee"] = {"users": _knee(run).users, "why": _knee(run).why}
    return json.dumps(document, indent=1) + "\n"


def to_svg(run: Run) -> str:
    """The p95 of each operation, with p50 and p99 as whiskers."""
    found = operations_of(run.figures, run.phase)
    groups = [
        Group(
            f"through the gateway · p95 and p99 are to stay below {VALIDATION_MS:g} ms",
            _bars(found, (CALL, REFUSED_CALL)),
        ),
        Group(f"issuer · p95 is to stay below {AUTH_P95_MS:g} ms", _bars(found, AUTH)),
    ]
    return draw_bars(
        f"{run.settings.users:,} users at a time: how long answers take",
        f"p95 in ms, whiskers: p50 and p99 · {_think(run)} · {_rate(run, run.phase):,.0f} answers/s",
        [group for group in groups if group.bars],
        _footer(run),
    )


def sweep_to_text(run: Run) -> str:
    """The steps and the knee."""
    lines = [f"{'users':>7}{'answers/s':>11}{'auth p95':>11}{'call p95':>11}{'locust, of a core':>20}"]
    lines += [
        f"{step.users:>7,}{step.throughput:>11,.0f}{step.auth_p95:>8,.0f} ms{step.call_p95:>8,.1f} ms"
        f"{step.locust_share:>20.2f}"
        for step in run.steps
    ]
    return "\n".join([*_head(run), "", *lines, "", *_faults(run), _knee_words(run)])


def sweep_to_markdown(run: Run) -> str:
    """The same for a page."""
    table = [
        "| users | answers/s | auth p95, ms | call p95, ms | locust, of a core |",
        "|---:|---:|---:|---:|---:|",
        *(
            f"| {step.users:,} | {step.throughput:,.0f} | {step.auth_p95:,.0f} | {step.call_p95:,.1f} "
            f"| {step.locust_share:.2f} |"
            for step in run.steps
        ),
    ]
    head = f"Written by `make sweep LOAD_ARGS=--publish`, {run.at}."
    return (
        "\n".join(
            [
                "# A capacity sweep",
                "",
                *_paragraphs([head, *_head(run), "", *table, "", *_faults(run), _knee_words(run)]),
            ]
        )
        + "\n"
    )


def sweep_to_csv(run: Run) -> str:
    """A row for each step."""
    rows = [
        f"{step.users},{step.throughput:.1f},{step.auth_p95:.1f},{step.call_p95:.2f},{step.locust_share:.3f}"
        for step in run.steps
    ]
    return "\n".join(["users,answers_per_second,auth_p95_ms,call_p95_ms,locust_share_of_a_core", *rows]) + "\n"


def sweep_to_svg(run: Run) -> str:
    """Throughput and p95 against users, with the knee."""
    steps = run.steps
    knee = _knee(run)
    panels = [
        Panel("answers per second", [Curve("answered", [step.throughput for step in steps])]),
        Panel(
            "p95, ms",
            [
                Curve("auth, slowest", [step.auth_p95 for step in steps]),
                Curve("call", [step.call_p95 for step in steps]),
            ],
            logarithmic=True,
            bounds=[(AUTH_P95_MS, "auth: 200 ms"), (VALIDATION_MS, "call: 50 ms")],
        ),
    ]
    mark = None if knee.users is None else (knee.users, f"knee: {knee.users:,} users")
    return draw_curves(
        "Users at a time: what they get, and how long they wait",
        f"{_think(run)} · {knee.why}",
        [step.users for step in steps],
        panels,
        mark,
        _footer(run),
    )


def _step(figures: Mapping[str, Any], users: int) -> Step | None:
    phase = figures["phases"].get(str(users))
    if phase is None or not phase["seconds"]:
        return None
    found = operations_of(figures, str(users))
    return Step(
        users,
        throughput=sum(times.count for times in found.values()) / phase["seconds"],
        auth_p95=max((found[one].p95 for one in AUTH if one in found), default=0.0),
        call_p95=max((found[one].p95 for one in (CALL, REFUSED_CALL) if one in found), default=0.0),
        locust_share=phase["spent"][LOCUST] / phase["seconds"],
    )


def _knee(run: Run) -> Knee:
    return find_knee(run.steps, faults_of(run.figures))


def _knee_words(run: Run) -> str:
    knee = _knee(run)
    rule = f"(served: {KEPT_SHARE:g} of the first step's throughput for each user, p95 within bounds, no failure)"
    if knee.users is None:
        return f"no knee: {knee.why} {rule}"
    return f"knee: {knee.users:,} users; {knee.why} {rule}"


def _head(run: Run) -> Iterator[str]:
    settings = run.settings
    users = ", ".join(f"{step:,}" for step in settings.steps)
    where = settings.host or "the one-machine stack"
    yield f"{run.machine['cpu']}, {run.machine['cores']} cores, Linux {run.machine['kernel']}"
    yield f"journey {settings.journey.name}: {users} users at a time on {where}, {_think(run)}"
    accounts = (
        f"{settings.people:,} accounts with one password and one hash" if settings.people else "every user registers"
    )
    step = settings.duration / len(settings.steps)
    each = " each" if len(settings.steps) > 1 else ""
    yield f"{step:,.0f} s{each}, times from {settings.ramp:,.0f} s on, failures from the beginning; {accounts}"


def _table(run: Run) -> Iterator[list[str]]:
    yield ["", "answers", "a second", "p50 ms", "p95 ms", "p99 ms", "demanded", "verdict"]
    seconds = _seconds(run, run.phase)
    for line in run.verdict.lines:
        yield [line.name, *_numbers(line, seconds), line.demanded, _VERDICTS[line.met]]


def _numbers(line: Line, seconds: float) -> list[str]:
    if line.count is not None:
        return [f"{line.count:,}", "", "", "", ""]
    if line.times is None:
        return ["none", "", "", "", ""]
    times = line.times
    return [
        f"{times.count:,}",
        f"{times.count / seconds:,.1f}",
        *(f"{one:,.1f}" for one in (times.p50, times.p95, times.p99)),
    ]


def _costs(run: Run, phase: str) -> Iterator[str]:
    """Who used the processor while times were taken."""
    found = run.figures["phases"].get(phase)
    if not found or not found["seconds"]:
        return
    all_seconds = found["seconds"] * int(run.machine["cores"])
    spent = sorted(found["spent"].items(), key=lambda item: -item[1])
    shares = ", ".join(f"{who} {seconds:,.1f}" for who, seconds in spent)
    yield f"processor time while measured, of {all_seconds:,.0f} core-seconds: {shares}"
    if found["spent"][LOCUST] > BUSY_SHARE * found["seconds"]:
        share = found["spent"][LOCUST] / found["seconds"]
        yield f"note: locust used {share:.2f} of a core: the times contain waiting within the load generator"


def _faults(run: Run) -> Iterator[str]:
    for fault in run.figures["faults"]:
        yield f"wrong: {fault['count']:,} x {fault['operation']}: {fault['fault']}"


def _conclusion(run: Run) -> str:
    return "verdict: met" if run.verdict.met else "verdict: NOT MET"


def _think(run: Run) -> str:
    return f"pauses of {run.settings.think:g} s on average, exponential"


def _footer(run: Run) -> str:
    kind = "load" if len(run.settings.steps) == 1 else "sweep"
    return f"{run.machine['cpu']}, {run.machine['cores']} cores, load and servers together · make {kind} · {run.at}"


def _bars(found: Mapping[str, Any], names: Sequence[str]) -> list[Bar]:
    return [
        Bar(name, times.p95, times.p50, times.p99, f"{times.p95:,.1f} ms", "ours")
        for name in names
        if (times := found.get(name)) is not None
    ]


def _seconds(run: Run, phase: str) -> float:
    return float(run.figures["phases"].get(phase, {"seconds": 0.0})["seconds"]) or 1.0


def _rate(run: Run, phase: str) -> float:
    return sum(times.count for times in operations_of(run.figures, phase).values()) / _seconds(run, phase)


def _aligned(cell: str, width: int, column: int) -> str:
    return f"{cell:>{width}}" if 1 <= column <= 5 else f"{cell:<{width}}"  # noqa: PLR2004 - the columns of numbers


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    """Each line a paragraph of its own, but for the rows of tables."""
    for line in lines:
        yield line
        if line and not line.startswith("|"):
            yield ""
