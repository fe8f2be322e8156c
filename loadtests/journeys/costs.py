"""Processor time, in seconds, by who spent it: locust, each part of the stack, and all else on the machine."""

from collections.abc import Callable
from typing import Final

import psutil

LOCUST: Final = "locust"
OTHERS: Final = "other programs"
PARTS: Final = {
    "issuer": ("-m", "issuer"),
    "verifier": ("-m", "verifier"),
    "application": ("stack.application",),
    "gateway (Envoy)": ("envoy",),
    "PostgreSQL": ("postgres",),
}
"""A part and the words by which a process of the stack is known to belong to it."""


def spent_by(stack: int | None) -> Callable[[], dict[str, float]]:
    """A question: what have this process, the processes under `stack` and all others spent up to now?"""
    ourselves = psutil.Process()

    def spent() -> dict[str, float]:
        found = dict.fromkeys((LOCUST, *(PARTS if stack is not None else ())), 0.0)
        found[LOCUST] = _seconds(ourselves)
        for process in _below(stack):
            if part := _part_of(process):
                found[part] += _seconds(process)
        machine = psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
        return found | {OTHERS: busy - sum(found.values())}

    return spent


def _below(stack: int | None) -> list[psutil.Process]:
    """None of a stack that is elsewhere, or that has died: what its clients were answered then says enough."""
    try:
        return [] if stack is None else psutil.Process(stack).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _part_of(process: psutil.Process) -> str | None:
    try:
        words = process.cmdline()
    except psutil.Error:
        return None
    line = " ".join(words)
    return next((part for part, marks in PARTS.items() if " ".join(marks) in line), None)


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
