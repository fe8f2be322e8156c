"""The report of a run: a timeline as a picture, a table of faults, and all records as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.patches import Patch

from loadtests import machine
from loadtests.charts import save
from tests.chaos.faults import ISSUER_SURFACE
from tests.chaos.invariants import Effect, Outcome
from tests.chaos.run import Result
from tests.chaos.site import GATEWAYS

_COLORS: Final = {
    Effect.UNAVAILABLE: "tab:orange",
    Effect.NO_RESPONSE: "tab:gray",
    Effect.REJECTED: "tab:red",
    Effect.LATE: "tab:purple",
}
_WRONG: Final = "black"
_MANY_FAULTS: Final = 60
_MIN_BAR_SECONDS: Final = 0.6
_ROOM_FOR_LEGEND: Final = 1.2


def write(result: Result, out: Path, command: str) -> str:
    """Write `chaos.md`, `chaos.svg` and `chaos.json` into a folder; return the text."""
    about = machine.describe()
    heading = (
        f"Written by `{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {about['cpu']}, {about['cores']} cores, "
        f"Linux {about['kernel']}: seed {result.seed}, {result.seconds:.0f} s, {len(result.outcomes)} faults."
    )
    sections = [heading, "![Faults above, response times and errors below](chaos.svg)", _invariants(result)]
    if result.violations:
        rows = [f"- {one.sent:.2f} s, {one.surface}: {one.effect}. {one.detail}" for one in result.violations]
        sections += ["## Violations", "\n".join(rows)]
    sections += ["## Faults", _fault_table(result.outcomes)]
    if result.skipped:
        reasons = [f"- {name}: {reason}" for name, reason in sorted(result.skipped.items())]
        sections += ["## Left out", "\n".join(reasons)]
    text = "# A run of chaos\n\n" + "\n\n".join(sections) + "\n"
    (out / "chaos.md").write_text(text, encoding="utf-8")
    (out / "chaos.json").write_text(json.dumps(_document(result, about), indent=1), encoding="utf-8")
    draw(result, out / "chaos.svg")
    return text


def _invariants(result: Result) -> str:
    counts = result.journal.counts
    found = {effect: sum(one.effect is effect for one in result.violations) for effect in Effect}
    invalid = sum(number for what, number in counts.items() if what.startswith("invalid: "))
    lost = sum(stretch.lost for stretch in result.journal.starved)
    rows = [
        ("invalid tokens accepted", f"{invalid:,} sent", found[Effect.WRONG_ACCEPT] + found[Effect.LATE]),
        (
            "acknowledged writes lost",
            ", ".join(f"{counts[f'acknowledged {what}']} {what}" for what in ("accounts", "sessions", "logouts")),
            found[Effect.LOST],
        ),
        ("valid tokens rejected beyond the bounds", f"{counts['valid']:,} sent", found[Effect.REJECTED]),
        ("5xx other than 503, or without Retry-After", "", found[Effect.WRONG_STATUS] + found[Effect.NO_RETRY_AFTER]),
        (
            "unavailable beyond the recovery times",
            f"processes waited {lost:.0f} s for a core of a busy machine",
            found[Effect.UNAVAILABLE] + found[Effect.NO_RESPONSE],
        ),
    ]
    lines = [
        "| | of | violations |",
        "|---|---|---:|",
        *(f"| {what} | {of} | {number} |" for what, of, number in rows),
    ]
    return "\n".join(lines)


def _fault_table(results: Sequence[Outcome]) -> str:
    lines = [
        "| at, s | fault | lasted, s | clients saw | first seen after, s | recovered after, s | published, s |",
        "|---:|---|---:|---|---:|---:|---:|",
    ]
    for one in results:
        fault = one.fault
        lasted = fault.end - fault.start
        seen = ", ".join(f"{number} x {effect}" for effect, number in one.effects.items()) or "nothing"
        noticed = "" if one.noticed_after is None else f"{one.noticed_after:.1f}"
        lines.append(
            f"| {fault.start:.0f} | {fault.name} | {lasted:.1f} | {seen} | {noticed} | {one.recovered_after:.1f} | "
            f"{fault.recovery_seconds:g} |"
        )
    return "\n".join(lines)


def _document(result: Result, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "machine": about,
        "seed": result.seed,
        "seconds": result.seconds,
        "counts": result.journal.counts,
        "skipped": result.skipped,
        "violations": [asdict(one) for one in result.violations],
        "faults": [
            {
                "fault": one.fault.name,
                "begin": one.fault.start,
                "end": one.fault.end,
                "noticed_after": one.noticed_after,
                "recovered_after": one.recovered_after,
                "published_recovery": one.fault.recovery_seconds,
                "effects": one.effects,
            }
            for one in result.outcomes
        ],
    }


def draw(result: Result, path: Path) -> None:
    """Draw the faults by target, the response times by surface, and the observations, over one time axis."""
    targets = list(dict.fromkeys(sorted(one.fault.target for one in result.outcomes)))
    height = 0.3 * len(targets)
    figure, (faults, times, errors) = plt.subplots(
        3, 1, sharex=True, figsize=(14, 5 + height), height_ratios=[height + 1, 2, 2], layout="constrained"
    )
    _draw_faults(faults, result, targets)
    _draw_times(times, result)
    _draw_errors(errors, result)
    for axes in (faults, times, errors):
        axes.set_xlim(0, result.seconds)
        axes.spines["right"].set_visible(False)
        axes.grid(alpha=0.3)
    for stretch in result.journal.starved:
        times.axvspan(stretch.start, stretch.end, color="tab:blue", alpha=0.15, linewidth=0)
    errors.set_xlabel("seconds")
    save(figure, path)


def _draw_faults(axes: Any, result: Result, targets: Sequence[str]) -> None:
    kinds = sorted({one.fault.kind for one in result.outcomes})
    colors = dict(zip(kinds, [colormaps["tab20"](number) for number in range(20)], strict=False))
    for one in result.outcomes:
        fault, row = one.fault, targets.index(one.fault.target)
        lasted = max(fault.end - fault.start, _MIN_BAR_SECONDS)
        axes.barh(row, lasted, left=fault.start, height=0.7, color=colors[fault.kind])
        axes.barh(row, one.recovered_after, left=fault.start + lasted, height=0.2, color="tab:red")
        if len(result.outcomes) <= _MANY_FAULTS:
            axes.annotate(
                fault.kind, (fault.start, row), (2, 0), textcoords="offset points", va="center", fontsize="x-small"
            )
    axes.set_yticks(range(len(targets)), targets, fontsize="small")
    axes.invert_yaxis()
    axes.set_title("faults, and in red the time until clients saw nothing of them any more", loc="left")
    if len(result.outcomes) > _MANY_FAULTS:
        # Beside the bars: any place among them hides some.
        axes.legend(
            handles=[Patch(color=colors[kind], label=kind) for kind in kinds],
            frameon=False,
            fontsize="x-small",
            loc="upper left",
            bbox_to_anchor=(1, 1),
        )


def _draw_times(axes: Any, result: Result) -> None:
    for surface in (*GATEWAYS, ISSUER_SURFACE):
        seconds = sorted(second for name, second in result.journal.latencies if name == surface)
        values = [median(result.journal.latencies[surface, second]) * 1000 for second in seconds]
        axes.plot(seconds, values, label=surface, linewidth=1)
    axes.set_yscale("log")
    axes.set_title(
        "right responses: median of each second, ms (blue: the machine was busy with other programs)", loc="left"
    )
    axes.legend(frameon=False, ncols=3, fontsize="small")


def _draw_errors(axes: Any, result: Result) -> None:
    size = int(result.seconds) + 1
    bottom = [0] * size
    wrong = [one for one in result.journal.observations if one.effect not in _COLORS]
    for label, color, seen in [
        *((effect, color, [one for one in result.journal.observations if one.effect is effect])
          for effect, color in _COLORS.items()),
        ("anything that must never be", _WRONG, wrong),
    ]:  # fmt: skip
        heights = [0] * size
        for one in seen:
            heights[min(int(one.received), size - 1)] += 1
        axes.bar(range(size), heights, width=1.0, bottom=bottom, color=color, label=label, align="edge")
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    axes.set_title("other responses of each second, to all observers", loc="left")
    axes.set_ylim(top=max(bottom) * _ROOM_FOR_LEGEND + 1)
    axes.legend(frameon=False, ncols=5, fontsize="small", loc="upper left")
