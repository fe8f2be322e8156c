"""The machine of a run: its description, the two cores that are used, and how busy they were."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loadtests.processes import CannotStartError

_SYSFS: Final = Path("/sys/devices/system/cpu")
_PROC_STAT: Final = Path("/proc/stat")
_STEAL: Final = 7
_IDLE: Final = slice(3, 5)


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the servers, and that of the load."""

    server: int
    load: int


@dataclass(slots=True)
class Busy:
    """Shares of a time, 0 to 1: in which each core was busy, and which the host took for other machines."""

    server: float = 0.0
    load: float = 0.0
    stolen: float = 0.0


def choose_cores() -> Cores:
    """Return two cores that we may use, not two threads of one physical core unless there is nothing else.

    Raises:
        CannotStartError: we may use one only.
    """
    server, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise CannotStartError("the benchmark needs two cores: one for the server, one for the load")
    siblings = _siblings(server)
    return Cores(server, next((core for core in others if core not in siblings), others[0]))


def describe() -> dict[str, str | int]:
    """Return the facts by which this machine is compared with another."""
    return {"cpu": _cpu_model(), "cores": os.cpu_count() or 0, "kernel": platform.release(), "system": _system()}


def in_words(about: Mapping[str, str | int]) -> str:
    """Return the description of a machine as a line of a report."""
    return f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}"


def written_by(command: str) -> str:
    """Return the beginning of a published result: the command, the time, the machine."""
    return f"Written by `{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, on {in_words(describe())}"


@contextmanager
def watch(cores: Cores) -> Iterator[Busy]:
    """Fill in, at the end of the block, how busy the cores were during it."""
    busy = Busy()
    before, started = (_ticks(cores.server), _ticks(cores.load)), time.monotonic()
    yield busy
    ticks = max(time.monotonic() - started, 0.01) * os.sysconf("SC_CLK_TCK")
    server, load = (
        [now - then for now, then in zip(_ticks(core), earlier, strict=True)]
        for core, earlier in zip((cores.server, cores.load), before, strict=True)
    )
    busy.server, busy.load = (max(0.0, 1 - sum(spent[_IDLE]) / ticks) for spent in (server, load))
    busy.stolen = (server[_STEAL] + load[_STEAL]) / (2 * ticks)


def _ticks(core: int) -> list[int]:
    lines = _PROC_STAT.read_text().splitlines()
    return next([int(field) for field in line.split()[1:]] for line in lines if line.startswith(f"cpu{core} "))


def _siblings(core: int) -> set[int]:
    """Return the threads of the same physical core. The file has a list such as `0,2` or `0-1`."""
    found: set[int] = set()
    with suppress(OSError):
        text = (_SYSFS / f"cpu{core}/topology/thread_siblings_list").read_text().strip()
        for part in text.split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def _system() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return platform.system()


def _cpu_model() -> str:
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "unknown")
    return platform.processor() or "unknown"
