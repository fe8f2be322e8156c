"""Charts of load runs and benchmarks, drawn by matplotlib as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

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


def save(figure: Any, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same figures, and free its memory."""
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
