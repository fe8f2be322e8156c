"""Charts of load runs and benchmarks, drawn by matplotlib as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from loadtests.soak.sampling import Sample

_MIB = 1024 * 1024
_TABLES = 5
mpl.rcParams.update({"svg.hashsalt": "gatepass", "svg.fonttype": "none", "axes.spines.top": False})


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart, with its lowest and highest round."""

    label: str
    value: float
    low: float
    high: float
    ours: bool


def draw_sweep(steps: Sequence[Mapping[str, Any]], knee: int | None, path: Path) -> None:
    """Draw throughput and p95 of a sweep over the number of users, with the knee marked."""
    users = [step["users"] for step in steps]
    figure, (rate, wait) = plt.subplots(2, 1, sharex=True, figsize=(8, 6), layout="constrained")
    rate.plot(users, [step["throughput"] for step in steps], marker="o")
    rate.set_ylabel("responses per second")
    wait.plot(users, [step["auth_p95_ms"] for step in steps], marker="o", label="slowest auth operation")
    wait.plot(users, [step["call_p95_ms"] for step in steps], marker="o", label="call through the gateway")
    wait.set_yscale("log")
    wait.set_ylabel("p95, ms")
    wait.set_xlabel("users at a time")
    wait.legend(frameon=False)
    for axes in (rate, wait):
        axes.set_ylim(bottom=0 if axes is rate else None)
        axes.grid(alpha=0.3)
        if knee is not None:
            axes.axvline(knee, linestyle="--", color="gray")
    save(figure, path)


def draw_costs(groups: Mapping[str, Sequence[Bar]], title: str, path: Path) -> None:
    """Draw a horizontal bar for each contender, in groups with headings, with its lowest and highest round."""
    figure, panels = plt.subplots(
        len(groups),
        1,
        figsize=(9, 1.2 + 0.4 * sum(map(len, groups.values()))),
        height_ratios=[len(bars) for bars in groups.values()],
        layout="constrained",
        squeeze=False,
        sharex=True,
    )
    figure.suptitle(title)
    for axes, (heading, bars) in zip(panels[:, 0], groups.items(), strict=True):
        values = [bar.value for bar in bars]
        ranges = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
        colors = ["tab:green" if bar.ours else "tab:gray" for bar in bars]
        axes.barh([bar.label for bar in bars], values, xerr=ranges, color=colors)
        axes.set_title(heading, loc="left", fontsize="medium")
        axes.invert_yaxis()
        axes.spines["right"].set_visible(False)
        for position, bar in enumerate(bars):
            axes.annotate(f"{bar.value:.1f}", (bar.high, position), (4, 0), textcoords="offset points", va="center")
    panels[-1, 0].set_xlabel("processor time for each request, microseconds")
    save(figure, path)


def draw_soak(samples: "Sequence[Sample]", path: Path) -> None:
    """Draw the sizes of a soak run over time: processes, tables, status lists and keys."""
    minutes = [sample.seconds / 60 for sample in samples]
    figure, panels = plt.subplots(3, 2, sharex=True, figsize=(11, 9), layout="constrained")
    (memory, descriptors), (tables, rows), (lists, keys) = panels
    for part in samples[-1].parts:
        memory.plot(minutes, [sample.parts[part].memory_bytes / _MIB for sample in samples], label=part)
        descriptors.plot(minutes, [sample.parts[part].descriptors for sample in samples], label=part)
    heaviest = sorted(samples[-1].tables, key=lambda name: -samples[-1].tables[name].bytes)[:_TABLES]
    for name in heaviest:
        (line,) = tables.plot(minutes, [sample.tables[name].table_bytes / _MIB for sample in samples], label=name)
        indexes = [sample.tables[name].index_bytes / _MIB for sample in samples]
        tables.plot(minutes, indexes, color=line.get_color(), linestyle=":")
        rows.plot(minutes, [sample.tables[name].rows for sample in samples], label=name)
    lists.plot(minutes, [sum(sample.status_lists.values()) / 1024 for sample in samples])
    keys.step(minutes, [len(sample.keys) for sample in samples], where="post")
    titles = ("memory, MiB", "open descriptors", "tables (indexes dotted), MiB", "rows", "status lists, KiB", "keys")
    for axes, title in zip(panels.flat, titles, strict=True):
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines["right"].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize="small", ncols=2)
    for axes in panels[-1]:
        axes.set_xlabel("minutes")
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same figures, and free its memory."""
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
