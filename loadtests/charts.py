"""Charts of load runs and benchmarks, drawn by matplotlib as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from loadtests.bench.statistics import MedianRange

if TYPE_CHECKING:
    from loadtests.soak.sampling import Sample

_MIB = 1024 * 1024
_TABLES = 5
mpl.rcParams.update({"svg.hashsalt": "gatepass", "svg.fonttype": "none", "axes.spines.top": False})


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


def draw_costs(groups: Mapping[str, Mapping[str, MedianRange]], path: Path) -> None:
    """Draw a bar for the cost of each contender. `groups` has bars by label, by heading; ours are green."""
    figure, panels = plt.subplots(
        len(groups),
        1,
        figsize=(9, 1.2 + 0.4 * sum(map(len, groups.values()))),
        height_ratios=[len(bars) for bars in groups.values()],
        layout="constrained",
        squeeze=False,
        sharex=True,
    )
    figure.suptitle("What it costs to check the access token of a request")
    for axes, (heading, bars) in zip(panels[:, 0], groups.items(), strict=True):
        found = list(bars.values())
        ranges = [[one.median - one.low for one in found], [one.high - one.median for one in found]]
        colors = ["tab:green" if label.startswith("Gatepass") else "tab:gray" for label in bars]
        axes.barh(list(bars), [one.median for one in found], xerr=ranges, color=colors)
        axes.set_title(heading, loc="left", fontsize="medium")
        axes.invert_yaxis()
        axes.spines["right"].set_visible(False)
        for position, one in enumerate(found):
            axes.annotate(f"{one.median:.1f}", (one.high, position), (4, 0), textcoords="offset points", va="center")
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
