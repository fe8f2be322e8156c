"""A verifier serves on inherited sockets, as under systemd: restarts reject nothing, several share one."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.inherited_sockets import InheritedSocket, listening_tcp, notified_manager
from tests.support.load import Load
from tests.support.processes import free_port, listens, paused, wait_until
from tests.support.raw_http import bearer, request
from tests.support.services import environment, failed_start
from tests.support.verifier_process import VerifierFolder, VerifierProcess


@pytest.fixture(params=["tcp", "unix"])
def place(request: pytest.FixtureRequest, folder: VerifierFolder) -> Iterator[InheritedSocket]:
    if request.param == "tcp":
        yield request.getfixturevalue("tcp")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder.path / "verifier.sock"))
        listener.listen(1024)
        yield "subrequests", listener


@pytest.fixture
def tcp() -> Iterator[InheritedSocket]:
    with listening_tcp("subrequests") as inherited:
        yield inherited


@contextmanager
def _running(folder: VerifierFolder, *inherited: InheritedSocket, **settings: Any) -> Iterator[VerifierProcess]:
    name = inherited[0][1].getsockname()
    # For the tests' client; the verifier serves on what it inherits.
    if isinstance(name, str):
        settings["UDS"] = Path(name)
    with folder.running(inherited=inherited, **settings) as verifier:
        yield verifier


def test_a_verifier_serves_on_a_tcp_or_unix_socket(folder: VerifierFolder, place: InheritedSocket) -> None:
    with _running(folder, place) as verifier:
        assert verifier.ask(token=verifier.token()).status == 200
        assert verifier.stop() == 0
        if verifier.uds:
            assert verifier.uds.exists(), "its maker removes it"


def test_a_restart_under_load_refuses_no_connection_and_loses_no_request(
    folder: VerifierFolder, tcp: InheritedSocket
) -> None:
    with ExitStack() as verifiers:
        verifier = verifiers.enter_context(_running(folder, tcp, DRAIN_SECONDS=1))
        load = Load(verifier.port, request("/verify", bearer(verifier.token())), connections=20)
        with load.running(reconnect=True):
            for _ in range(2):
                load.wait_for(300)
                assert verifier.stop() == 0
                verifier = verifiers.enter_context(_running(folder, tcp, DRAIN_SECONDS=1))
                load.wait_for(300)
    assert (set(load.statuses), load.refused, load.lost) == ({200}, 0, 0)


def test_two_verifiers_share_one_socket(folder: VerifierFolder, place: InheritedSocket) -> None:
    with _running(folder, place) as one, _running(folder, place) as other:
        asked = request("/verify", bearer(one.token()))
        for serving, frozen in ((one, other), (other, one)):
            before = serving.metric("decisions_total")
            with paused(frozen.process), ExitStack() as stack:
                wires = [stack.enter_context(one.connect()) for _ in range(20)]
                assert {wire.ask(asked).status for wire in wires} == {200}
            assert serving.metric("decisions_total") == before + 20
        one.process.kill()
        one.process.wait()
        assert other.ask(token=other.token()).status == 200


def test_the_admin_socket_is_recognised_by_its_name(folder: VerifierFolder, tcp: InheritedSocket) -> None:
    with listening_tcp("admin") as admin, _running(folder, admin, tcp) as verifier:
        assert verifier.admin_port == admin[1].getsockname()[1]
        assert verifier.admin("/healthz").status_code == 200
        assert verifier.ask("/healthz", token=verifier.token()).status == 403
        assert verifier.ask(token=verifier.token()).status == 200


def test_several_sockets_serve_subrequests(folder: VerifierFolder, tcp: InheritedSocket) -> None:
    with listening_tcp("subrequests") as second, _running(folder, tcp, second) as verifier:
        assert verifier.ask().status == 401
        with socket.create_connection(second[1].getsockname()) as client:
            client.sendall(request("/verify", bearer(verifier.token())))
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_systemd_is_notified_of_ready_watchdog_and_stopping(folder: VerifierFolder, tcp: InheritedSocket) -> None:
    with notified_manager() as manager:
        with _running(folder, tcp) as verifier:
            received = {manager.recv(100) for _ in range(3)}
            assert received == {b"READY=1", b"WATCHDOG=1"}
            assert verifier.stop() == 0
        last = b""
        while last != b"STOPPING=1":
            last = manager.recv(100)


def test_sockets_for_another_process_are_ignored(folder: VerifierFolder, tcp: InheritedSocket) -> None:
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LISTEN_PID", "1")
        with folder.running(inherited=[tcp], PORT=port, ready=None):
            wait_until(lambda: listens(port), "it listens")


def _fails(folder: VerifierFolder, *inherited: tuple[str, Any], **variables: str) -> str:
    folder.publish()
    settings = {"ISSUER": folder.forge.issuer, "JWKS_FILE": folder.jwks, "ADMIN_PORT": 0}
    return failed_start("verifier", inherited, environment("verifier", settings) | variables)


def test_an_unusable_socket_is_one_line(folder: VerifierFolder, tcp: InheritedSocket) -> None:
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams, folder.jwks.open("wb") as file:
        file.write(folder.forge.jwks)
        for unusable in (idle, datagrams):
            assert _fails(folder, ("subrequests", unusable)) == (
                "inherited socket 3 (subrequests) is not a listening stream socket: use ListenStream= and Accept=no"
            )
        assert "inherited socket 3 (web) is not a socket" in _fails(folder, ("web", file))
    assert _fails(folder, ("admin", tcp[1]), ("admin", tcp[1])) == "2 inherited sockets are named admin: pass one"
    for count in ("many", "-1", "65"):
        assert f"LISTEN_FDS='{count}': not a number" in _fails(folder, tcp, LISTEN_FDS=count)
    assert _fails(folder, tcp, LISTEN_FDNAMES="a:b") == "LISTEN_FDNAMES has 2 names for 1 sockets"
