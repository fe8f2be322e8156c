"""The supervisor with small programs that exit, hang or never become ready."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from stack.settings import StackError
from stack.supervisor import Program, Ready, Supervisor
from tests.support.processes import alive, command_line

pytestmark = pytest.mark.anyio


async def _at_once() -> bool:
    return True


async def _never() -> bool:
    return False


def _logged_up(log: Path) -> Ready:
    async def ask() -> bool:
        return "up" in await asyncio.to_thread(log.read_text)

    return ask


@asynccontextmanager
async def _supervising(folder: Path) -> AsyncIterator[Supervisor]:
    """Yield a supervisor that restarts twice after short delays."""
    with (folder / "lock").open("w") as lock:
        async with Supervisor(folder, lock, lambda _: None, restart_delays_seconds=(0.05, 0.05)) as supervisor:
            yield supervisor


def _shell(name: str, script: str) -> Program:
    return Program(name, ["sh", "-c", script])


async def test_a_process_that_keeps_exiting_stops_the_rest(tmp_path: Path) -> None:
    async with _supervising(tmp_path) as supervisor:
        await supervisor.start(_shell("steady", "exec sleep 60"), _at_once)
        await supervisor.start(_shell("weak", "sleep 0.05; echo last words; exit 3"), _at_once)
        reported = r"(?s)weak exited with status 3.*last words.*weak keeps exiting: giving up"
        with pytest.raises(StackError, match=reported):
            await supervisor.supervise()
    assert not [child for child in psutil.Process().children() if "sleep" in command_line(child)]
    assert (tmp_path / "weak.log").read_text() == 3 * "last words\n"


async def test_a_process_that_exits_before_it_is_ready_is_reported(tmp_path: Path) -> None:
    async with _supervising(tmp_path) as supervisor:
        with pytest.raises(StackError, match=r"broken was killed by SIGKILL. Last lines of .*:\n    why"):
            await supervisor.start(_shell("broken", "echo why; kill -9 $$"), _never)


async def test_a_failed_job_is_reported(tmp_path: Path) -> None:
    async with _supervising(tmp_path) as supervisor:
        with pytest.raises(StackError, match=r"job exited with status 4. Last lines of .*:\n    \(none\)"):
            await supervisor.complete(_shell("job", "exit 4"))


async def test_a_process_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    others = psutil.Process().children(recursive=True)
    began = time.monotonic()
    async with _supervising(tmp_path) as supervisor:
        for name in ("first", "second"):
            stubborn = "trap '' TERM INT; sleep 60 & echo up; while :; do wait; done"
            await supervisor.start(_shell(name, stubborn), _logged_up(tmp_path / f"{name}.log"))
        family = [child for child in psutil.Process().children(recursive=True) if child not in others]
    assert time.monotonic() - began < 30, "it did not wait until its children ended by themselves"
    assert len(family) == 5  # the reaper, two shells and their children
    assert alive(family) == []


async def test_the_stack_stops_when_the_reaper_is_killed(tmp_path: Path) -> None:
    async with _supervising(tmp_path) as supervisor:
        await supervisor.start(_shell("steady", "exec sleep 60"), _at_once)
        reaper = next(child for child in psutil.Process().children() if "reaper.py" in command_line(child))
        reaper.send_signal(signal.SIGKILL)
        with pytest.raises(StackError, match="the reaper process was killed"):
            await supervisor.supervise()


async def test_logs_of_the_previous_run_are_kept(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text("the run before\n")
    async with _supervising(tmp_path) as supervisor:
        await supervisor.complete(_shell("job", "echo again"))
    assert (tmp_path / "job.log").read_text() == "again\n"
    assert (tmp_path / "job.log.1").read_text() == "the run before\n"
