"""Processor time, in seconds, of locust, of each part of the stack, and of everything else on the machine."""

from contextlib import suppress
from typing import Final

import psutil

LOCUST: Final = "locust"
OTHERS: Final = "other programs"
PARTS: Final = {
    "issuer": "-m issuer",
    "verifier": "-m verifier",
    "application": "stack.sample_app",
    "gateway (Envoy)": "envoy",
    "PostgreSQL": "postgres",
}
"""A part of the stack, and what the command lines of its processes contain."""


def cpu_seconds(stack_pid: int | None) -> dict[str, float]:
    """Return the processor time used so far, by part; without our own stack only locust and the rest."""
    used = {LOCUST: _seconds(psutil.Process())}
    if stack_pid is not None:
        used |= dict.fromkeys(PARTS, 0.0)
        used |= {part: sum(map(_seconds, processes)) for part, processes in stack_processes(stack_pid).items()}
    machine = psutil.cpu_times()
    busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - getattr(machine, "guest", 0.0)
    return used | {OTHERS: busy - sum(used.values())}


def stack_processes(stack_pid: int) -> dict[str, list[psutil.Process]]:
    """Return the running processes of each part of the stack; none if it has exited."""
    found: dict[str, list[psutil.Process]] = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(stack_pid).children(recursive=True):
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                for part, words in PARTS.items():
                    if words in line:
                        found.setdefault(part, []).append(process)
                        break
    return found


def _seconds(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(sum(process.cpu_times()[:2]))
    return 0.0
