"""The supervisor with small programs: what it does about those that die, hang or never get ready."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.settings import StackError
from stack.supervisor import Program, Ready, Supervisor
from tests.support.processes import alive, command_line

Act = Callable[[Supervisor], Coroutine[Any, Any, None]]


async def _at_once() -> bool:
    return True


async def _never() -> bool:
    return False


def _said_up(log: Path) -> Ready:
    async def ask() -> bool:
        return "up" in await asyncio.to_thread(log.read_text)

    return ask


def _supervise(folder: Path, act: Act) -> list[str]:
    """Run `act` with a supervisor that restarts quickly and twice; what it said."""
    said: list[str] = []

    async def run() -> None:
        with (folder / "lock").open("w") as lock:
            async with Supervisor(folder, lock, said.append, restart_delays_seconds=(0.05, 0.05)) as supervisor:
                await act(supervisor)

    asyncio.run(run())
    return said


def _shell(name: str, script: str) -> Program:
    return Program(name, ["sh", "-c", script])


def test_a_process_that_keeps_dying_stops_the_rest_with_its_last_words(tmp_path: Path) -> None:
    async def act(supervisor: Supervisor) -> None:
        await supervisor.start(_shell("steady", "exec sleep 60"), _at_once)
        await supervisor.start(_shell("weak", "sleep 0.05; echo last words; exit 3"), _at_once)
        await supervisor.watch()

    with pytest.raises(StackError, match=r"(?s)weak ended with status 3.*last words.*weak keeps dying: giving up"):
        _supervise(tmp_path, act)
    assert not [child for child in psutil.Process().children() if "sleep" in command_line(child)]
    assert (tmp_path / "weak.log").read_text() == 3 * "last words\n"


def test_a_process_that_dies_before_it_is_ready_is_named(tmp_path: Path) -> None:
    async def act(supervisor: Supervisor) -> None:
        await supervisor.start(_shell("stillborn", "echo why; kill -9 $$"), _never)

    with pytest.raises(StackError, match=r"stillborn was killed by SIGKILL. Its last lines \(.*\):\n    why"):
        _supervise(tmp_path, act)


def test_a_job_that_fails_is_named(tmp_path: Path) -> None:
    async def act(supervisor: Supervisor) -> None:
        await supervisor.complete(_shell("job", "exit 4"))

    with pytest.raises(StackError, match=r"job ended with status 4. Its last lines \(.*\):\n    \(none\)"):
        _supervise(tmp_path, act)


def test_a_process_that_will_not_stop_is_stopped_within_five_seconds(tmp_path: Path) -> None:
    async def act(supervisor: Supervisor) -> None:
        for name in ("first", "second"):
            stubborn = "trap '' TERM INT; sleep 60 & echo up; while :; do wait; done"
            await supervisor.start(_shell(name, stubborn), _said_up(tmp_path / f"{name}.log"))
        family.extend(child for child in psutil.Process().children(recursive=True) if child not in strangers)

    strangers = psutil.Process().children(recursive=True)
    family: list[psutil.Process] = []
    began = time.monotonic()
    _supervise(tmp_path, act)
    assert time.monotonic() - began < 5
    assert len(family) == 5  # the guard, two shells and their children
    assert alive(family) == []


def test_without_its_guard_it_does_not_go_on(tmp_path: Path) -> None:
    async def act(supervisor: Supervisor) -> None:
        await supervisor.start(_shell("steady", "exec sleep 60"), _at_once)
        guard = next(child for child in psutil.Process().children() if "guard.py" in command_line(child))
        guard.send_signal(signal.SIGKILL)
        await supervisor.watch()

    with pytest.raises(StackError, match="the guard process was killed"):
        _supervise(tmp_path, act)


def test_logs_of_the_run_before_are_kept_once(tmp_path: Path) -> None:
    async def act(supervisor: Supervisor) -> None:
        await supervisor.complete(_shell("job", "echo again"))

    (tmp_path / "job.log").write_text("the run before\n")
    _supervise(tmp_path, act)
    assert (tmp_path / "job.log").read_text() == "again\n"
    assert (tmp_path / "job.log.1").read_text() == "the run before\n"
