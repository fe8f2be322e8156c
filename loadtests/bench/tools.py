"""The programs that a benchmark needs: their paths, their versions, and the command that installs a missing one."""

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from loadtests.bench.contenders import Contender
from loadtests.bench.peers import PEERS, built
from loadtests.command import say
from loadtests.processes import CannotStartError, ProcessError, run

DEBIAN_PACKAGES: Final = {
    "haproxy": "haproxy",
    "nginx": "nginx",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "wrk": "wrk",
}
PYTHON_PACKAGES: Final = ("cryptography", "httptools", "pyjwt", "starlette", "uvicorn", "uvloop")
INSTALL_SECONDS: Final = 300.0


def find_tools() -> Mapping[str, str]:
    """Return the path of each program, by name. Missing Debian packages are installed if we are root.

    Raises:
        CannotStartError: a program is missing and could not be installed.
    """
    packages = sorted({package for name, package in DEBIAN_PACKAGES.items() if _which(name) is None})
    if packages:
        _install(packages)
    found = {name: _which(name) for name in (*DEBIAN_PACKAGES, "envoy")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise CannotStartError(f"{', '.join(missing)} not found; Envoy is in the environment of `make`")
    return {"python": sys.executable, **built(), **{name: path for name, path in found.items() if path is not None}}


def select(names: Sequence[str], contenders: Iterable[Contender]) -> list[Contender]:
    """Return the contenders with these names, or without names all. Print which of them must be built first.

    Raises:
        CannotStartError: one of `names` is not built.
    """
    selected = [one for one in contenders if not names or one.name in names]
    missing = [one.name for one in selected if one.peer and one.peer not in built()]
    if missing:
        message = f"not built: {', '.join(missing)}; `make bench-peers` builds them"
        if names:
            raise CannotStartError(message)
        say(message)
    return [one for one in selected if one.name not in missing]


def versions(programs: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of everything compared, to the patch level, for the report."""
    return {
        "python": sys.version.split()[0],
        "nginx": _version(["sh", "-c", '"$0" -v 2>&1', programs["nginx"]]),
        "haproxy": _version([programs["haproxy"], "-v"]),
        "envoy": _version([programs["envoy"], "--version"]),
        **{package: importlib.metadata.version(package) for package in PYTHON_PACKAGES},
        **{peer.name: peer.version for peer in PEERS if peer.name in programs},
        "gatepass": _revision(),
    }


def _which(name: str) -> str | None:
    """Search beside our own interpreter (Envoy comes from PyPI), then in PATH, then where Debian puts daemons."""
    beside = Path(sys.executable).parent
    return shutil.which(name, path=os.pathsep.join((str(beside), os.environ.get("PATH", ""), "/usr/sbin")))


def _install(packages: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotStartError(f"install what is missing, as root: {' '.join(command)}")
    say(f"installing {', '.join(packages)}")
    try:
        run(command, timeout=INSTALL_SECONDS)
    except ProcessError as error:
        raise CannotStartError(f"{error}\n(try `apt-get update` first)") from error


def _version(command: list[str]) -> str:
    found = re.search(r"\d+\.\d+[\w.+~-]*", run(command, timeout=10))
    return found.group() if found else "unknown"


def _revision() -> str:
    try:
        return run(["git", "describe", "--always", "--dirty"], timeout=10).strip()
    except (ProcessError, OSError):
        return "unknown"
