"""A run as bars, a sweep as curves, with the benchmark's pen."""

from collections.abc import Mapping, Sequence

from loadtests.benchmark.chart import Bar, Group
from loadtests.benchmark.chart import draw as draw_bars
from loadtests.journeys.curve import Curve, Panel
from loadtests.journeys.curve import draw as draw_curves
from loadtests.journeys.kinds import AUTH, CALL, REFUSED_CALL
from loadtests.journeys.recorder import Times
from loadtests.journeys.report import Run, pauses, rate
from loadtests.journeys.verdict import AUTH_P95_MS, VALIDATION_MS, operations_of


def to_svg(run: Run) -> str:
    """The picture of a run or of a sweep."""
    return _curves(run) if run.swept else _bars(run)


def _bars(run: Run) -> str:
    """The p95 of each operation, with p50 and p99 as whiskers."""
    found = operations_of(run.figures, str(run.settings.users))
    calls = _group(
        f"through the gateway · p95 and p99 below {VALIDATION_MS:g} ms wanted", found, (CALL, REFUSED_CALL)
    )
    auth = _group(f"at the issuer · p95 below {AUTH_P95_MS:g} ms wanted", found, AUTH)
    return draw_bars(
        f"{run.settings.users:,} users at a time: how long answers take",
        f"p95 in ms, whiskers: p50 and p99 · {pauses(run)} · {rate(run):,.0f} answers/s",
        [group for group in (calls, auth) if group.bars],
        _footer(run),
    )


def _curves(run: Run) -> str:
    """Throughput and p95 against users, with the knee."""
    steps, knee = run.steps, run.knee
    panels = [
        Panel("answers a second", [Curve("answered", [step.throughput for step in steps])]),
        Panel(
            "p95, ms",
            [
                Curve("auth, the slowest", [step.auth_p95 for step in steps]),
                Curve("call", [step.call_p95 for step in steps]),
            ],
            logarithmic=True,
            bounds=[(AUTH_P95_MS, f"auth: {AUTH_P95_MS:g} ms"), (VALIDATION_MS, f"call: {VALIDATION_MS:g} ms")],
        ),
    ]
    return draw_curves(
        "How many users at a time: what they get, and how long they wait",
        f"{pauses(run)} · {knee.why}",
        [step.users for step in steps],
        panels,
        None if knee.users is None else (knee.users, f"knee: {knee.users:,} users"),
        _footer(run),
    )


def _group(heading: str, found: Mapping[str, Times], names: Sequence[str]) -> Group:
    bars = [
        Bar(name, times.p95, times.p50, times.p99, f"{times.p95:,.1f} ms", "ours")
        for name in names
        if (times := found.get(name)) is not None
    ]
    return Group(heading, bars)


def _footer(run: Run) -> str:
    target = "sweep" if run.swept else "load"
    return f"{run.machine['cpu']}, {run.machine['cores']} cores, load and servers together · make {target} · {run.at}"
