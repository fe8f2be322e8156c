"""Workers come and go, and nobody who asks notices."""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.verifier_process import VerifierFolder, VerifierProcess, is_alive

_DRAIN_SECONDS = 1


def _load(verifier: VerifierProcess, connections: int = 20) -> Load:
    return Load(verifier.port, request("/verify", bearer(verifier.token())), connections)


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_answers_everything_that_was_asked(folder: VerifierFolder, workers: int) -> None:
    with (
        folder.running(WORKERS=workers, DRAIN_SECONDS=_DRAIN_SECONDS) as verifier,
        _load(verifier).running(reconnect=False) as load,
    ):
        wait_until(lambda: load.answered > 500, "the load is on")
        started = time.monotonic()
        assert verifier.stop() == 0
        assert time.monotonic() - started < _DRAIN_SECONDS + 2
    assert set(load.statuses) == {200}
    assert (load.lost, load.refused, load.announced) == (0, 0, 20)
    assert "Traceback" not in verifier.log()


def test_idle_connections_do_not_hold_up_the_end(folder: VerifierFolder) -> None:
    with folder.running(DRAIN_SECONDS=1) as verifier, verifier.connect() as idle, verifier.connect() as fresh:
        idle.ask(request())
        fresh.send(b"GET /verify HTTP/1.1\r\n")
        started = time.monotonic()
        assert verifier.stop() == 0
        assert time.monotonic() - started < 3
        assert idle.rest() == []


def test_while_draining_open_connections_are_served_and_new_ones_refused(folder: VerifierFolder) -> None:
    with folder.running(DRAIN_SECONDS=_DRAIN_SECONDS) as verifier, verifier.connect() as wire:
        assert wire.ask(request()).status == 401
        verifier.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _accepts(verifier), "no connection is taken any more", 1)
        answer = wire.ask(request("/verify", bearer(verifier.token())))
        assert (answer.status, answer.closes) == (200, True)
        assert wire.rest() == []
        assert verifier.process.wait(_DRAIN_SECONDS + 2) == 0


def _accepts(verifier: VerifierProcess) -> bool:
    try:
        with verifier.connect(timeout=0.2):
            return True
    except OSError:
        return False


def test_readiness_ends_before_the_verifier_does(folder: VerifierFolder) -> None:
    with folder.running(DRAIN_SECONDS=_DRAIN_SECONDS) as verifier, verifier.connect() as wire:
        wire.ask(request())
        verifier.process.send_signal(signal.SIGTERM)
        wait_until(lambda: verifier.readiness() in (0, 503), "it says that it is no longer ready", 1)
        assert verifier.process.wait(_DRAIN_SECONDS + 2) == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(folder: VerifierFolder, first: signal.Signals) -> None:
    with folder.running(DRAIN_SECONDS=60) as verifier, verifier.connect() as wire:
        wire.ask(request())
        workers = verifier.workers()
        verifier.process.send_signal(first)
        time.sleep(0.2)
        assert verifier.process.poll() is None
        assert verifier.stop() == 0
        assert not any(is_alive(pid) for pid in workers)


def test_a_killed_worker_is_replaced_within_a_second_and_nobody_is_refused(folder: VerifierFolder) -> None:
    with folder.running(WORKERS=2) as verifier, _load(verifier).running(reconnect=True) as load:
        for _ in range(3):
            load.wait_for(300)
            verifier.replace_worker(within=1)
        # The kernel loses what it had handed to the dead: at most one request for each connection and kill.
        assert load.lost <= 3 * load.connections
        assert load.refused == 0
        verifier.wait_until_readiness_is(200)
    assert set(load.statuses) == {200}
    assert len(verifier.events("worker_died")) == 3


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_connections_that_come_at_once_are_shared_by_the_workers(folder: VerifierFolder, *, unix: bool) -> None:
    place: dict[str, Any] = {"UDS": folder.path / "verifier.sock"} if unix else {}
    with folder.running(WORKERS=2, **place) as verifier, ExitStack() as stack:
        before = [_sockets(pid) for pid in verifier.workers()]
        wires = [stack.enter_context(verifier.connect()) for _ in range(60)]
        assert {wire.ask(request("/verify", bearer(verifier.token()))).status for wire in wires} == {200}
        held = [_sockets(pid) - then for pid, then in zip(verifier.workers(), before, strict=True)]
        assert min(held) >= 10, "neither has nearly all, even where one was slow to wake"


def _sockets(pid: int) -> int:
    return sum(str(one.readlink()).startswith("socket:") for one in Path(f"/proc/{pid}/fd").iterdir())


def test_a_worker_that_hangs_keeps_no_connection_from_the_other(folder: VerifierFolder) -> None:
    with folder.running(WORKERS=2) as verifier, ExitStack() as stack:
        hanging = verifier.workers()[0]
        os.kill(hanging, signal.SIGSTOP)
        stack.callback(os.kill, hanging, signal.SIGCONT)
        wires = [stack.enter_context(verifier.connect()) for _ in range(40)]
        assert {wire.ask(request("/verify", bearer(verifier.token()))).status for wire in wires} == {200}


def test_with_one_worker_connections_wait_for_its_successor(folder: VerifierFolder) -> None:
    with folder.running() as verifier:
        os.kill(verifier.worker(), signal.SIGSTOP)
        with verifier.connect() as waiting, verifier.connect() as other:
            waiting.send(request("/verify", bearer(verifier.token())))
            os.kill(verifier.worker(), signal.SIGKILL)
            assert next(waiting.answers(1)).status == 200
            assert other.ask(request()).status == 401


def test_a_worker_that_is_told_to_stop_drains_and_is_replaced(folder: VerifierFolder) -> None:
    with folder.running(WORKERS=2, DRAIN_SECONDS=1) as verifier, _load(verifier).running(reconnect=True) as load:
        wait_until(lambda: load.answered > 300, "the load is on")
        victim = verifier.workers()[0]
        os.kill(victim, signal.SIGTERM)
        wait_until(lambda: len(set(verifier.workers()) - {victim}) == 2, "it is replaced", 4)
        answered = load.answered
        wait_until(lambda: load.answered > answered + 300, "the load goes on")
    assert (set(load.statuses), load.lost, load.refused) == ({200}, 0, 0)


def test_workers_end_with_their_supervisor_however_it_ended(folder: VerifierFolder) -> None:
    with folder.running(WORKERS=2, DRAIN_SECONDS=1) as verifier, verifier.connect() as wire:
        wire.ask(request())
        workers = verifier.workers()
        verifier.process.kill()
        verifier.process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in workers), "the workers have ended", 5)
        assert wire.rest() == []


def _settings(uds: Path) -> dict[str, Any]:
    return {"UDS": uds, "UDS_MODE": "0640"} | ({"UDS_GROUP": "daemon"} if os.geteuid() == 0 else {})


def test_a_unix_socket_has_its_mode_and_group_and_goes_with_the_verifier(folder: VerifierFolder) -> None:
    uds = folder.path / "verifier.sock"
    with folder.running(**_settings(uds)) as verifier:
        state = uds.stat()
        assert state.st_mode & 0o777 == 0o640
        if os.geteuid() == 0:
            assert uds.group() == "daemon"
        assert verifier.ask(token=verifier.token()).status == 200
        assert verifier.ask("/verify/nowhere").status == 403
        assert verifier.stop() == 0
    assert not uds.exists()


def test_the_socket_of_a_killed_verifier_is_replaced(folder: VerifierFolder) -> None:
    uds = folder.path / "verifier.sock"
    with folder.running(UDS=uds) as verifier:
        workers = verifier.workers()
        verifier.process.kill()
        verifier.process.wait()
        wait_until(lambda: not any(is_alive(pid) for pid in workers), "the workers have ended", 5)
    assert uds.is_socket()
    with folder.running(UDS=uds) as verifier:
        assert verifier.ask(token=verifier.token()).status == 200
