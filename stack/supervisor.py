"""Starts the stack's processes, restarts one that dies, and ends all of them.

Knows processes, not what they are for. All of them run in one process group that a guard leads (`guard`), so
that none outlives the supervisor, however either of them ends.
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
"""After the last one the supervisor gives up and stops everything."""

_STABLE_SECONDS: Final = 60.0
"""A process that lived this long has its earlier deaths forgotten."""

_STOP_SECONDS: Final = 3.0
"""How long processes may take over a clean end, and then the last one: together less than the 5 promised."""

_LAST_STOP_SECONDS: Final = 1.5
_TAIL_BYTES: Final = 8192
_TAIL_LINES: Final = 10

Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Program:
    """How to start one process.

    Attributes:
        name: what the operator knows it by; also the name of its log file.
        command: the program and its arguments; no secrets, everybody can read them.
        environ: its whole environment, or None for ours.
        user: the system user to run it as, or None for ours.
        stdin: what it reads.
        stop_signal: what ends it cleanly.
    """

    name: str
    command: list[str]
    environ: Mapping[str, str] | None = None
    user: str | None = None
    stdin: str = ""
    stop_signal: signal.Signals = signal.SIGTERM


class Supervisor:
    """Owns every process of one stack: `async with` starts the guard, and its end stops them all."""

    def __init__(
        self,
        logs: Path,
        lock: TextIO,
        say: Callable[[str], None],
        restart_delays_seconds: Sequence[float] = RESTART_DELAYS_SECONDS,
    ) -> None:
        self._restart_delays_seconds = restart_delays_seconds
        self._logs = logs
        self._lock = lock
        self._say = say
        self._running: dict[str, tuple[Program, Process]] = {}
        self._kept: list[tuple[Program, Ready]] = []

    async def __aenter__(self) -> Self:
        for log in self._logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))
        # The guard inherits the lock on the state folder: nobody may start there before it has cleaned up.
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(ROOT / "stack/guard.py"),
            stdin=PIPE, pass_fds=[self._lock.fileno()], process_group=0,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every process within 5 s, the one that started first last: the others stand on it."""
        first = self._kept[0][0].name if self._kept else ""
        await self._end([name for name in self._running if name != first], _STOP_SECONDS)
        await self._end([*self._running], _LAST_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        await self._guard.wait()

    async def complete(self, program: Program) -> None:
        """Run `program` to its end.

        Raises:
            StackError: it failed; with its last lines.
        """
        process = await self._spawn(program)
        if status := await process.wait():
            raise StackError(self._obituary(program, status))
        del self._running[program.name]

    async def start(self, program: Program, ready: Ready) -> None:
        """Start `program` for good and wait until `ready` says so.

        Raises:
            StackError: it died, or was not ready within `START_SECONDS`.
        """
        process = await self._spawn(program)
        try:
            async with asyncio.timeout(START_SECONDS):
                alive = await self._became_ready(process, ready)
        except TimeoutError:
            raise StackError(
                f"{program.name} is not ready after {START_SECONDS:.0f} s: see {self._log(program)}"
            ) from None
        if not alive:
            raise StackError(self._obituary(program, await process.wait()))
        self._kept.append((program, ready))

    async def watch(self) -> None:
        """Restart what dies, for as long as that helps.

        Raises:
            StackError: a process keeps dying, or the guard is gone.
        """
        keepers = [self._keep(program, ready) for program, ready in self._kept]
        tasks = [asyncio.create_task(work) for work in (self._watch_guard(), *keepers)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _keep(self, program: Program, ready: Ready) -> None:
        clock = asyncio.get_running_loop().time
        delays = deque(self._restart_delays_seconds)
        while True:
            born = clock()
            status = await self._running[program.name][1].wait()
            obituary = self._obituary(program, status)
            if clock() - born > _STABLE_SECONDS:
                delays = deque(self._restart_delays_seconds)
            if not delays:
                raise StackError(f"{obituary}\n{program.name} keeps dying: giving up")
            delay = delays.popleft()
            self._say(f"{obituary}\nrestarting {program.name} in {delay:.0f} s")
            await asyncio.sleep(delay)
            await self._revive(program, ready)

    async def _revive(self, program: Program, ready: Ready) -> None:
        process = await self._spawn(program)
        try:
            async with asyncio.timeout(START_SECONDS):
                if await self._became_ready(process, ready):
                    self._say(f"{program.name} is back")
        except TimeoutError:
            self._say(f"{program.name} is not ready after {START_SECONDS:.0f} s")
            process.kill()

    async def _watch_guard(self) -> None:
        await self._guard.wait()
        raise StackError("the guard process was killed")

    async def _became_ready(self, process: Process, ready: Ready) -> bool:
        """Wait until `ready` (True) or until the process is dead (False)."""
        while process.returncode is None:
            if await ready():
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return False

    async def _spawn(self, program: Program) -> Process:
        with self._log(program).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env=program.environ,
                **_identity(program.user),
                stdin=PIPE if program.stdin else DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._guard.pid,
            )
        self._running[program.name] = program, process
        if process.stdin:
            process.stdin.write(program.stdin.encode())
            process.stdin.close()
        return process

    async def _end(self, names: list[str], seconds: float) -> None:
        ending = [self._running.pop(name) for name in names]
        for program, process in ending:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(program.stop_signal)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for _, process in ending:
                    await process.wait()
        for _, process in ending:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    def _log(self, program: Program) -> Path:
        return self._logs / f"{program.name}.log"

    def _obituary(self, program: Program, status: int) -> str:
        """How `program` ended and the last it said."""
        log = self._log(program)
        with log.open("rb") as content:
            content.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = content.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        last = "\n".join(f"    {line}" for line in lines)
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"{program.name} {how}. Its last lines ({log}):\n{last or '    (none)'}"


def _identity(user: str | None) -> dict[str, Any]:
    """What makes a process `user`'s. Without the groups it would keep root's."""
    if user is None:
        return {"cwd": ROOT}
    return {"cwd": "/", "user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
