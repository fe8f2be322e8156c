"""Real processes for tests: free ports, folders, environments, waiting with a deadline, starting and stopping."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import psutil

from tests.support.forks import Process

ROOT: Final = Path(__file__).parents[2]
_STOP_SECONDS: Final = 15.0
_BLOCK: Final = 500
_ROOM_BYTES: Final = 2 << 30
_owned_block: Final[list[socket.socket]] = []
T = TypeVar("T")


def free_port() -> int:
    """Return an unused loopback port, a different one at each call of this process."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", next(_ports()))) as taken:
            return int(taken.getsockname()[1])


@cache
def _ports() -> Iterator[int]:
    """Yield the ports of a block that this process owns, repeatedly.

    They are below the kernel's range for outgoing connections, so that no such connection takes a port between its
    choice and its use. The owner of a block listens on its first port.
    """
    for first in range(10_000, 32_000, _BLOCK):
        with suppress(OSError):
            _owned_block.append(socket.create_server(("127.0.0.1", first)))
            return cycle(range(first + 1, first + _BLOCK))
    raise AssertionError("every block of ports is in use")


def database_folder(purpose: str) -> Path:
    """Return a new folder for a database: in memory if there is space, since each test copies a database."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES
    return Path(tempfile.mkdtemp(prefix=f"gatepass-{purpose}-", dir=memory if has_room else None))


def listens(port: int) -> bool:
    """Return whether something listens on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(happened: Callable[[], T | None], what: str, seconds: float = 20.0) -> T:
    """Poll until the result is true, and return it; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return result


def wait_until_ready(process: Process, ready: Callable[[], bool], log: Path, seconds: float) -> None:
    """Poll until a process is ready; AssertionError with its log after `seconds`, or if it ends before."""
    deadline = time.monotonic() + seconds
    while process.poll() is not None or not ready():
        written = log.read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None, f"ended with {process.poll()}: {written}"
        assert time.monotonic() < deadline, f"not ready within {seconds} s: {written}"
        time.sleep(0.02)


def without_settings() -> dict[str, str]:
    """Return the environment without settings of issuer and verifier."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ISSUER_", "VERIFIER_"))}


def finished(
    command: Sequence[str | Path],
    *,
    folder: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    stdin: str = "",
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; return its exit status and output.

    Args:
        environ: its whole environment; None for that of the tests.
    """
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
    ready: Callable[[], bool] = lambda: True,
    seconds: float = 20.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with its output in `log`, from when it is ready to the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, env={**os.environ, **environ}, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_until_ready(process, ready, log, seconds)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        stop(process)


def stop(process: Process) -> None:
    """End a process: by SIGTERM, or by SIGKILL if it does not end."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def paused(process: Process) -> Iterator[None]:
    """Suspend a process and its children."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.suspend()
    try:
        yield
    finally:
        for member in family:
            member.resume()


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that have not ended. A zombie has ended."""
    return [process for process in processes if process.is_running() and _status(process) != psutil.STATUS_ZOMBIE]


def core_waits(pid: int, *, all_threads: bool = False) -> dict[int, float]:
    """Return the seconds for which threads of a process were ready to run and waited for a core, by thread id.

    Without `all_threads`, only those of the first one.
    """
    waits = {}
    for task in Path(f"/proc/{pid}").glob("task/*/schedstat" if all_threads else f"task/{pid}/schedstat"):
        with suppress(OSError, IndexError):
            waits[int(task.parent.name)] = int(task.read_text(encoding="ascii").split()[1]) / 1e9
    return waits


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


def command_line(process: psutil.Process) -> str:
    """Return the arguments of a process; none after its end."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
