"""Runs other processes: bound to cores if requested, limited in time, stopped by their own id.

It uses no shell and searches no processes: only processes started here are stopped.
"""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Final

import psutil

ROOT: Final = Path(__file__).parents[1]
STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


class CannotStartError(Exception):
    """A run lacks what it needs, or its options cannot be combined. The message says what to do."""


class ProcessError(Exception):
    """A program failed, or did not end or respond in time. The message has its last output."""


class InvalidRunError(Exception):
    """A measurement is not valid, so the run has no result."""


def run(command: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None) -> str:
    """Run `command` to its end, with our environment or another, and return its output.

    Raises:
        ProcessError: it failed, or took longer than `timeout` seconds.
    """
    name = shlex.join(command[:5])
    try:
        result = subprocess.run(  # noqa: S603 - commands are written in this package, none comes from outside
            command, env=environment, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{name} took longer than {timeout:.0f} s") from error
    if result.returncode:
        raise ProcessError(f"{name} ended with {result.returncode}: {_last_lines(result.stderr)}")
    return result.stdout


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """Return `command` bound to `core` with every thread it starts, stopped if we are killed."""
    return _stopped_with_us(["taskset", "-c", str(core), *command])


def _stopped_with_us(command: Sequence[str]) -> list[str]:
    """Return `command`, stopped if we are killed where the system supports that."""
    return [*(["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []), *command]


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started, with its output in `log`, or in ours."""

    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self.process.pid

    def ensure_alive(self) -> None:
        """Raise ProcessError, with the last lines of its log, if it has ended."""
        status = self.process.poll()
        if status is not None and self.log is not None:
            lines = _last_lines(self.log.read_text(errors="replace"))
            raise ProcessError(f"{self.log.stem} ended with {status}: {lines}")

    def wait_until(self, is_ready: Callable[[], bool], seconds: float) -> None:
        """Poll until the process is ready; an OSError of `is_ready` means that it is not.

        Raises:
            ProcessError: the process ended, or is not ready after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.ensure_alive()
            with suppress(OSError):
                if is_ready():
                    return
            time.sleep(_POLL_SECONDS)
        raise ProcessError(f"not ready after {seconds:.0f} s; see {self.log}")


@contextmanager
def running(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path | None = None,
    core: int | None = None,
) -> Iterator[Running]:
    """Run `command` on `core`, or on all, until the block ends. Of our environment it inherits only PATH."""
    with log.open("wb") if log else nullcontext() as output:
        # A session of its own: Ctrl-C reaches us alone, and we stop the processes in order.
        process = subprocess.Popen(  # noqa: S603 - commands are written in this package, none comes from outside
            _stopped_with_us(command) if core is None else pinned(core, command),
            cwd=ROOT,
            env={"PATH": os.environ.get("PATH", os.defpath), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Running(process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop `process`, which leads its own group: by SIGTERM, and if it does not end the whole group by SIGKILL."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its live children, in user mode and in the kernel.

    By the processor-time clock of each process (clock_getcpuclockid(3)), which counts nanoseconds where /proc has
    hundredths of a second.
    """
    process, total = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(OSError):
            total += time.clock_gettime(~one.pid << 3 | 2)
    return total


def raise_descriptor_limit(needed: int = 65536) -> None:
    """Raise the soft limit on descriptors as far as needed and allowed; processes that we start inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed if hard < 0 else min(hard, needed)), hard))


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
