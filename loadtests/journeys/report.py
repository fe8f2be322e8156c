"""What a run or a sweep says: for people as text and Markdown, for programs as JSON and CSV. Knows no processes."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtests.journeys.costs import LOCUST, OTHERS
from loadtests.journeys.kinds import AUTH, CALL, REFUSED_CALL
from loadtests.journeys.knee import KEPT_SHARE, Knee, Step, find_knee
from loadtests.journeys.recorder import ramp_to
from loadtests.journeys.settings import Settings
from loadtests.journeys.verdict import Line, Verdict, faults_of, judge, operations_of

BUSY_SHARE: Final = 0.8
"""Of one core: where locust uses more, its users wait for each other, and their times contain that."""

QUIET_SHARE: Final = 0.1
"""Of the machine: where other programs use more, the times are also theirs."""

_VERDICTS: Final = {True: "met", False: "NOT MET", None: ""}
_RULE: Final = (
    f"a step is served with {KEPT_SHARE:g} of the first one's throughput for each user, p95 in bounds, no failure"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, or a sweep.

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
    def swept(self) -> bool:
        """Whether it is a sweep."""
        return len(self.settings.steps) > 1

    @property
    def verdict(self) -> Verdict:
        """Of what was measured with all users."""
        return judge(self.settings.journey, self.figures, str(self.settings.users))

    @property
    def steps(self) -> list[Step]:
        """Those that were reached."""
        return [step for users in self.settings.steps if (step := _step(self.figures, users)) is not None]

    @property
    def knee(self) -> Knee:
        """Of a sweep."""
        return find_knee(self.steps)

    @property
    def met(self) -> bool:
        """What the exit status says."""
        return self.knee.users is not None if self.swept else self.verdict.met


def to_text(run: Run) -> str:
    """For a terminal."""
    rows = list(_table(run))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [
            cell.rjust(width) if _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        for row in rows
    )
    table = ["  ".join(row).rstrip() for row in aligned]
    return "\n".join([*_head(run), "", *table, "", *_notes(run), _conclusion(run)])


def to_markdown(run: Run) -> str:
    """For a page of the specification."""
    head, *rows = _table(run)
    rules = ["---:" if _is_number(cell) else "---" for cell in rows[0]]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, rules, *rows))
    title, target = ("A capacity sweep", "sweep") if run.swept else ("A load run", "load")
    made = f"Written by `make {target} LOAD_ARGS=--publish`, {run.at}. ![the same as a picture]({target}.svg)"
    return "\n\n".join([f"# {title}", made, *_head(run), table, *_notes(run), f"**{_conclusion(run)}**"]) + "\n"


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
        "met": run.met,
        **run.figures,
    }
    if run.swept:
        document["knee"] = asdict(run.knee)
    else:
        document["verdict"] = [
            {"name": one.name, "demanded": one.demanded, "met": one.met} for one in run.verdict.lines
        ]
    return json.dumps(document, indent=1) + "\n"


def to_csv(run: Run) -> str:
    """A row for each step of a sweep."""
    head = "users,failures,answers_per_second,auth_p95_ms,call_p95_ms,locust_cores,machine_cores"
    rows = (
        f"{one.users},{one.failures},{one.throughput:.1f},{one.auth_p95:.1f},{one.call_p95:.2f},{one.locust:.3f},{one.machine:.3f}"
        for one in run.steps
    )
    return "\n".join([head, *rows]) + "\n"


def pauses(run: Run) -> str:
    """The think time, in words."""
    return f"pauses of {run.settings.think:g} s on average, exponential"


def rate(run: Run) -> float:
    """Answers a second with all users."""
    step = _step(run.figures, run.settings.users)
    return step.throughput if step else 0.0


def _head(run: Run) -> Iterator[str]:
    settings = run.settings
    users = ", ".join(f"{step:,}" for step in settings.steps)
    yield f"{run.machine['cpu']}, {run.machine['cores']} cores, Linux {run.machine['kernel']}"
    where = settings.host or "the one-machine stack"
    yield f"journey {settings.journey.name} at {where}: {users} users at a time, {pauses(run)}"
    accounts = (
        f"{settings.people:,} accounts with one password and one hash" if settings.people else "each user registers"
    )
    each = " each" if run.swept else ""
    seconds = settings.duration / len(settings.steps)
    yield f"{seconds:,.0f} s{each}, times from {settings.ramp:,.0f} s on, failures from the beginning; {accounts}"


def _table(run: Run) -> Iterator[list[str]]:
    if run.swept:
        yield ["users", "failures", "answers/s", "auth p95 ms", "call p95 ms", "locust, cores", "machine, cores"]
        for one in run.steps:
            figures = f"{one.auth_p95:,.0f}", f"{one.call_p95:,.1f}", f"{one.locust:.2f}", f"{one.machine:.2f}"
            yield [f"{one.users:,}", f"{one.failures:,}", f"{one.throughput:,.0f}", *figures]
        return
    yield ["", "answers", "a second", "p50 ms", "p95 ms", "p99 ms", "demanded", "verdict"]
    phase = run.figures["phases"].get(str(run.settings.users), {"seconds": 0.0})
    for line in run.verdict.lines:
        yield [line.name, *_numbers(line, phase["seconds"]), line.demanded, _VERDICTS[line.met]]


def _numbers(line: Line, seconds: float) -> list[str]:
    times = line.times
    if times is None:
        return [f"{line.count or 0:,}", "", "", "", ""]
    waits = (f"{wait:,.1f}" for wait in (times.p50, times.p95, times.p99))
    return [f"{times.count:,}", f"{times.count / seconds:,.1f}", *waits]


def _notes(run: Run) -> Iterator[str]:
    """Who used the processor while times were taken, and what was wrong, by name."""
    phase = run.figures["phases"].get(str(run.settings.users))
    if phase and phase["seconds"]:
        spent = sorted(phase["spent"].items(), key=lambda item: -item[1])
        all_seconds = phase["seconds"] * int(run.machine["cores"])
        shares = ", ".join(f"{who} {seconds:,.1f}" for who, seconds in spent)
        yield f"with {run.settings.users:,} users, of {all_seconds:,.0f} core-seconds: {shares}"
        if phase["spent"][LOCUST] > BUSY_SHARE * phase["seconds"]:
            yield "note: locust had little left of its core: the times contain waiting within the load generator"
        if run.settings.host is None and phase["spent"][OTHERS] > QUIET_SHARE * all_seconds:
            yield f"note: other programs used {phase['spent'][OTHERS] / all_seconds:.0%} of the machine meanwhile"
    counts: Counter[str] = Counter()
    for fault in run.figures["faults"]:
        counts[f"{fault['operation']}: {fault['fault']}"] += fault["count"]
    yield from (f"wrong: {count:,} x {what}" for what, count in counts.most_common())


def _conclusion(run: Run) -> str:
    if not run.swept:
        return "verdict: met" if run.met else "verdict: NOT MET"
    knee = run.knee
    return f"{'no knee' if knee.users is None else f'knee: {knee.users:,} users'}; {knee.why} ({_RULE})"


def _step(figures: Mapping[str, Any], users: int) -> Step | None:
    phase = figures["phases"].get(str(users))
    if phase is None or not phase["seconds"]:
        return None
    found, seconds, spent = operations_of(figures, str(users)), phase["seconds"], phase["spent"]
    return Step(
        users,
        faults_of(figures, str(users), ramp_to(users)),
        throughput=sum(times.count for times in found.values()) / seconds,
        auth_p95=max((found[one].p95 for one in AUTH if one in found), default=0.0),
        call_p95=max((found[one].p95 for one in (CALL, REFUSED_CALL) if one in found), default=0.0),
        locust=spent[LOCUST] / seconds,
        machine=sum(spent.values()) / seconds,
    )


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").isdigit()
