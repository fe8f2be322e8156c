"""Starts the stack's processes, restarts those that exit, and stops all of them.

It works for any processes. They run in one process group that the reaper leads (`stack/reaper.py`), so that none
outlives the supervisor, even if the supervisor is killed.
"""

import asyncio
import contextlib
import os
import pwd
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TextIO

from stack.settings import ROOT, StackError

START_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
RESTART_DELAYS_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""After the last delay the supervisor gives up and stops everything."""

_STABLE_SECONDS: Final = 60.0
"""After a process has run for this long, its number of restarts is counted from zero again."""

_STOP_SECONDS: Final = 3.0
"""Time limit for a clean stop; with `_LAST_STOP_SECONDS` for the first process it is below the documented 5 s."""

_LAST_STOP_SECONDS: Final = 1.5
_TAIL_BYTES: Final = 8192
_TAIL_LINES: Final = 10

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Program:
    """A process to start.

    Attributes:
        name: shown to the operator; also the name of its log file.
        command: the program and its arguments; no secrets, because every local user can read them.
        environ: its complete environment, or None to inherit ours.
        user: the system user to run it as, or None for ours.
        stdin: its standard input.
        stop_signal: the signal that stops it cleanly.
    """

    name: str
    command: list[str]
    environ: Mapping[str, str] | None = None
    user: str | None = None
    stdin: str = ""
    stop_signal: signal.Signals = signal.SIGTERM


class Supervisor:
    """The supervisor of one stack. `async with` starts the reaper, and stops all processes at its end."""

    def __init__(
        self,
        logs: Path,
        lock: TextIO,
        report: Callable[[str], None],
        restart_delays_seconds: Sequence[float] = RESTART_DELAYS_SECONDS,
    ) -> None:
        self._restart_delays_seconds = restart_delays_seconds
        self._logs = logs
        self._lock = lock
        self._report = report
        self._running: dict[str, tuple[Program, Process]] = {}
        self._supervised: list[tuple[Program, Ready]] = []

    async def __aenter__(self) -> Self:
        for log in self._logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
        # The reaper inherits the lock on the state folder: no other stack may start before the cleanup.
        self._reaper = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(ROOT / "stack/reaper.py"),
            stdin=PIPE, pass_fds=[self._lock.fileno()], process_group=0,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop every process within 5 s; the first one last, because the others depend on it."""
        first = self._supervised[0][0].name if self._supervised else ""
        await self._stop([name for name in self._running if name != first], _STOP_SECONDS)
        await self._stop([*self._running], _LAST_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._reaper.pid, signal.SIGKILL)
        await self._reaper.wait()

    async def complete(self, program: Program) -> None:
        """Run `program` until it exits.

        Raises:
            StackError: it failed; the message has its last log lines.
        """
        process = await self._spawn(program)
        if status := await process.wait():
            raise StackError(self._exit_report(program, status))
        del self._running[program.name]

    async def start(self, program: Program, ready: Ready) -> None:
        """Start `program`, to be supervised, and wait until it is `ready`.

        Raises:
            StackError: it exited, or was not ready within `START_SECONDS`.
        """
        process = await self._spawn(program)
        try:
            alive = await _became_ready(process, ready)
        except TimeoutError:
            raise StackError(
                f"{program.name} is not ready after {START_SECONDS:.0f} s: see {self._log(program)}"
            ) from None
        if not alive:
            raise StackError(self._exit_report(program, await process.wait()))
        self._supervised.append((program, ready))

    async def supervise(self) -> None:
        """Restart processes that exit.

        Raises:
            StackError: a process has used up its restarts, or the reaper was killed.
        """
        watchers = [self._supervise(program, ready) for program, ready in self._supervised]
        tasks = [asyncio.create_task(work) for work in (self._watch_reaper(), *watchers)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _supervise(self, program: Program, ready: Ready) -> None:
        clock = asyncio.get_running_loop().time
        delays = deque(self._restart_delays_seconds)
        while True:
            started_at = clock()
            status = await self._running[program.name][1].wait()
            exit_report = self._exit_report(program, status)
            if clock() - started_at > _STABLE_SECONDS:
                delays = deque(self._restart_delays_seconds)
            if not delays:
                raise StackError(f"{exit_report}\n{program.name} keeps exiting: giving up; see {self._log(program)}")
            delay = delays.popleft()
            self._report(f"{exit_report}\nrestarting {program.name} in {delay:.0f} s")
            await asyncio.sleep(delay)
            await self._restart(program, ready)

    async def _restart(self, program: Program, ready: Ready) -> None:
        process = await self._spawn(program)
        try:
            if await _became_ready(process, ready):
                self._report(f"{program.name} is running again")
        except TimeoutError:
            self._report(f"{program.name} is not ready after {START_SECONDS:.0f} s")
            process.kill()

    async def _watch_reaper(self) -> None:
        await self._reaper.wait()
        raise StackError("the reaper process was killed; start the stack again")

    async def _spawn(self, program: Program) -> Process:
        with self._log(program).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=program.environ,
                **_run_as(program.user),
                stdin=PIPE if program.stdin else DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._reaper.pid,
            )
        self._running[program.name] = program, process
        if process.stdin:
            process.stdin.write(program.stdin.encode())
            process.stdin.close()
        return process

    async def _stop(self, names: list[str], seconds: float) -> None:
        stopping = [self._running.pop(name) for name in names]
        for forced in (False, True):
            for program, process in stopping:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL if forced else program.stop_signal)
            # Wait after the second signal too, or the event loop could end first and leave the transports open.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    for _, process in stopping:
                        await process.wait()

    def _log(self, program: Program) -> Path:
        return self._logs / f"{program.name}.log"

    def _exit_report(self, program: Program, status: int) -> str:
        """Return how `program` exited, and its last log lines."""
        log = self._log(program)
        with log.open("rb") as content:
            content.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = content.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        last = "\n".join(f"    {line}" for line in lines)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
        return f"{program.name} {how}. Last lines of {log}:\n{last or '    (none)'}"


async def _became_ready(process: Process, ready: Ready) -> bool:
    """Wait until `ready` returns True, or return False if the process exits.

    Raises:
        TimeoutError: after `START_SECONDS`.
    """
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            if await ready():
                return True
            await asyncio.sleep(_POLL_SECONDS)
    return False


def _run_as(user: str | None) -> dict[str, Any]:
    """Return subprocess arguments to run a program as `user`. Without `extra_groups` it would keep root's groups."""
    if user is None:
        return {"cwd": ROOT}
    return {"cwd": "/", "user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
