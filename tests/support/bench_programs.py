"""Fixtures of the benchmark tests: a core to bind servers to, and the programs that are compared."""

import os
import sys

from loadtests.bench.tools import DEBIAN_PACKAGES, find_tools
from loadtests.processes import CannotStartError
from tests.support.programs import absent, program


def core() -> int:
    """Return a core of this process. The benchmark binds servers to cores, so it runs on Linux only."""
    if sys.platform != "linux":
        absent("binding a process to a core needs Linux")
    return min(os.sched_getaffinity(0))


def programs() -> dict[str, str]:
    """Return the paths of the programs, by name."""
    for name in DEBIAN_PACKAGES:
        program(name)
    try:
        return dict(find_tools())
    except CannotStartError as error:
        absent(str(error))
