"""Processor time, in seconds, of locust, of each part of the stack, and of everything else on the machine."""

from typing import Final

import psutil

LOCUST: Final = "locust"
OTHERS: Final = "other programs"
PARTS: Final = {
    "issuer": ("-m", "issuer"),
    "verifier": ("-m", "verifier"),
    "application": ("stack.sample_app",),
    "gateway (Envoy)": ("envoy",),
    "PostgreSQL": ("postgres",),
}
"""A part of the stack, and words of the command line of its processes."""


def cpu_seconds(stack_pid: int | None) -> dict[str, float]:
    """Return the processor time used so far, by part; without our own stack only locust and the rest."""
    used = dict.fromkeys((LOCUST, *(PARTS if stack_pid is not None else ())), 0.0)
    used[LOCUST] = _seconds(psutil.Process())
    for part, processes in stack_processes(stack_pid).items():
        used[part] += sum(map(_seconds, processes))
    machine = psutil.cpu_times()
    busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
    return used | {OTHERS: busy - sum(used.values())}


def used_between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return the difference by part. A part whose process ended in between counts from zero."""
    return {part: max(0.0, seconds - before.get(part, 0.0)) for part, seconds in after.items()}


def stack_processes(stack_pid: int | None) -> dict[str, list[psutil.Process]]:
    """Return the running processes of each part of the stack."""
    found: dict[str, list[psutil.Process]] = {}
    for process in _descendants(stack_pid):
        if part := _part_of(process):
            found.setdefault(part, []).append(process)
    return found


def _descendants(stack_pid: int | None) -> list[psutil.Process]:
    try:
        return [] if stack_pid is None else psutil.Process(stack_pid).children(recursive=True)
    except psutil.NoSuchProcess:  # the stack has exited, which the failed responses show
        return []


def _part_of(process: psutil.Process) -> str | None:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return None
    return next((part for part, words in PARTS.items() if " ".join(words) in line), None)


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
