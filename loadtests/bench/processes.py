"""Runs other processes: bound to cores if requested, limited in time, stopped by their own id.

It uses no shell and searches no processes: only processes started here are stopped.
"""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[2]
STOP_SECONDS: Final = 5.0


class ProcessError(Exception):
    """A program ended in a way that it should not have; the message has its last output."""


def run(command: Sequence[str], *, timeout: float) -> str:
    """Run `command` to its end and return its output and error output.

    Raises:
        ProcessError: it failed, or took longer than `timeout` seconds.
    """
    try:
        result = subprocess.run(  # noqa: S603 - commands are written in this package, none comes from outside
            command, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{command[0]} took longer than {timeout:.0f} s") from error
    if result.returncode:
        raise ProcessError(f"{command[0]} ended with {result.returncode}: {_last_lines(result.stderr)}")
    return result.stdout + result.stderr


def pinned(cores: Sequence[int], command: Sequence[str]) -> list[str]:
    """Return `command` bound to `cores` with every thread it starts, stopped if we are killed."""
    return stopped_with_us(["taskset", "-c", ",".join(map(str, cores)), *command])


def stopped_with_us(command: Sequence[str]) -> list[str]:
    """Return `command`, stopped if we are killed where the system supports that."""
    return [*(["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []), *command]


@contextmanager
def running(
    command: Sequence[str],
    *,
    cores: Sequence[int] | None,
    environment: Mapping[str, str],
    log: Path,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator["Running"]:
    """Run `command` on `cores`, or on all, until the block ends. Of our environment it inherits only PATH."""
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches us alone, and we stop the servers in order.
        process = subprocess.Popen(  # noqa: S603 - commands are written in this package, none comes from outside
            stopped_with_us(command) if cores is None else pinned(cores, command),
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", os.defpath), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Running(process, log)
    finally:
        stop(process, stop_seconds)


class Running:
    """A server that was started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time of the process and its running children, in user mode and in the kernel."""
        process = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return sum(one.user + one.system for one in times)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def ensure_alive(self) -> None:
        """Raise ProcessError, with the last lines of its log, if it has ended."""
        status = self._process.poll()
        if status is not None:
            lines = _last_lines(self._log.read_text(errors="replace"))
            raise ProcessError(f"{self._log.stem} ended with {status}: {lines}")


def stop(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """Stop `process`, which leads its own group: by SIGTERM, and after `seconds` the whole group by SIGKILL."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def raise_descriptor_limit() -> None:
    """Raise the soft limit on descriptors, which our processes inherit: 1,000 connections need more than 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))


def free_ports(count: int) -> list[int]:
    """Return different free ports; all are open at once, or the system might offer one of them twice."""
    servers = [create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(server.getsockname()[1]) for server in servers]
    finally:
        for server in servers:
            server.close()


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-5:]) or "no output"
