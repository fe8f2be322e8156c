"""Real processes for tests: free ports, folders, waiting with a deadline, starting and stopping."""

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
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[2]
_STOP_SECONDS: Final = 10.0
_BLOCK: Final = 500
_ROOM_BYTES: Final = 2 << 30
_owned_block: Final[list[socket.socket]] = []


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


def wait_until(happened: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Poll until the condition holds; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@contextmanager
def running(
    command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with its output in `log` until the end of the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **(environ or {})}, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that have not ended. A zombie has ended."""
    return [process for process in processes if process.is_running() and _status(process) != psutil.STATUS_ZOMBIE]


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
