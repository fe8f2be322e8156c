"""A verifier stops without losing a request, and leaves no socket file behind."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.verifier_process import VerifierFolder, VerifierProcess

_DRAIN_SECONDS = 1


def _load(verifier: VerifierProcess, connections: int = 20) -> Load:
    return Load(verifier.port, request("/verify", bearer(verifier.token())), connections)


def test_sigterm_under_load_loses_no_request(folder: VerifierFolder) -> None:
    with (
        folder.running(DRAIN_SECONDS=_DRAIN_SECONDS) as verifier,
        _load(verifier).running(reconnect=False) as load,
    ):
        wait_until(lambda: load.responses > 500, "the load has started")
        assert verifier.stop() == 0
    assert set(load.statuses) == {200}
    assert (load.lost, load.refused, load.announced) == (0, 0, 20)
    assert "Traceback" not in verifier.log()


def test_idle_connections_do_not_delay_the_exit(folder: VerifierFolder) -> None:
    with folder.running(DRAIN_SECONDS=1) as verifier, verifier.connect() as idle, verifier.connect() as fresh:
        idle.ask(request())
        fresh.send(b"GET /verify HTTP/1.1\r\n")
        assert verifier.stop() == 0
        assert idle.rest() == []


def test_while_draining_open_connections_are_served_and_new_ones_rejected(folder: VerifierFolder) -> None:
    with folder.running(DRAIN_SECONDS=_DRAIN_SECONDS) as verifier, verifier.connect() as wire:
        assert wire.ask(request()).status == 401
        verifier.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _accepts(verifier), "no connection is accepted any more")
        response = wire.ask(request("/verify", bearer(verifier.token())))
        assert (response.status, response.closes) == (200, True)
        assert wire.rest() == []
        assert verifier.process.wait(20) == 0


def _accepts(verifier: VerifierProcess) -> bool:
    try:
        with verifier.connect(timeout=0.2):
            return True
    except OSError:
        return False


def test_readiness_fails_before_the_verifier_stops(folder: VerifierFolder) -> None:
    with folder.running(DRAIN_SECONDS=_DRAIN_SECONDS) as verifier, verifier.connect() as wire:
        wire.ask(request())
        verifier.process.send_signal(signal.SIGTERM)
        wait_until(lambda: verifier.readiness() in (0, 503), "readiness fails")
        assert verifier.process.wait(20) == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_it_at_once(folder: VerifierFolder, first: signal.Signals) -> None:
    with folder.running(DRAIN_SECONDS=60) as verifier, verifier.connect() as wire:
        wire.ask(request())
        verifier.process.send_signal(first)
        time.sleep(0.2)
        assert verifier.process.poll() is None
        assert verifier.stop() == 0


def _settings(uds: Path) -> dict[str, Any]:
    return {"UDS": uds, "UDS_MODE": "0640"} | ({"UDS_GROUP": "daemon"} if os.geteuid() == 0 else {})


def test_a_unix_socket_has_its_mode_and_group_and_is_removed(folder: VerifierFolder) -> None:
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
        verifier.process.kill()
        verifier.process.wait()
    assert uds.is_socket()
    with folder.running(UDS=uds) as verifier:
        assert verifier.ask(token=verifier.token()).status == 200
