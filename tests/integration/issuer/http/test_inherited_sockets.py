"""Issuers serve on inherited sockets, as under systemd: several share one, and restarts reject nothing."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.inherited_sockets import InheritedSocket, listening_tcp, notified_manager
from tests.support.issuer_process import PASSWORD, IssuerProcess, running_issuer
from tests.support.plain_http import HTTP
from tests.support.postgres import Postgres
from tests.support.processes import paused, wait_until
from tests.support.services import environment, failed_start


@pytest.fixture
def public() -> Iterator[InheritedSocket]:
    with listening_tcp("public") as inherited:
        yield inherited


@pytest.fixture
def first(postgres: Postgres, public: InheritedSocket) -> Iterator[IssuerProcess]:
    with running_issuer(postgres.migrated_database(), inherited=[public], HASH_THREADS="1") as issuer:
        yield issuer


@contextmanager
def _another(first: IssuerProcess, *inherited: InheritedSocket) -> Iterator[IssuerProcess]:
    with running_issuer(first.database_url, first.keys_dir, inherited=inherited, HASH_THREADS="1") as issuer:
        yield issuer


def test_two_issuers_serve_one_socket(first: IssuerProcess, public: InheritedSocket) -> None:
    first.register("two@example.com")
    with _another(first, public) as second:
        with paused(second.process):
            tokens = first.login("two@example.com").json()
        with paused(first.process):
            assert second.login("two@example.com").status_code == 200
            assert second.refresh(tokens["refresh_token"]).status_code == 200
        for issuer in (first, second):
            assert issuer.metric('gatepass_issuer_logins_total{outcome="accepted"}') == 1
        first.process.kill()
        first.process.wait()
        assert second.login("two@example.com").status_code == 200


def test_a_restart_refuses_no_connection(first: IssuerProcess, public: InheritedSocket) -> None:
    first.register("restart@example.com")
    statuses: Counter[int] = Counter()
    rejected: list[Exception] = []
    stopping = threading.Event()

    def log_in() -> None:
        while not stopping.is_set():
            try:
                body = {"email": "restart@example.com", "password": PASSWORD}
                # Each over a connection of its own.
                statuses[HTTP.post(f"{first.url}/login", json=body).status_code] += 1
            except httpx.ConnectError as error:
                rejected.append(error)

    with ExitStack() as issuers:
        issuers.callback(stopping.set)
        thread = threading.Thread(target=log_in)
        thread.start()
        issuer = first
        for _ in range(2):
            served = statuses.total()
            wait_until(lambda served=served: statuses.total() > served + 3, "logins are served")  # type: ignore[misc] # a default
            assert issuer.stop() == 0
            issuer = issuers.enter_context(_another(first, public))
        served = statuses.total()
        wait_until(lambda: statuses.total() > served + 3, "logins are served")
        stopping.set()
        thread.join()
    assert (set(statuses), rejected) == ({200}, [])


def test_the_admin_socket_is_recognised_by_its_name(first: IssuerProcess, public: InheritedSocket) -> None:
    with listening_tcp("admin") as admin, _another(first, admin, public) as second:
        assert second.admin_port == admin[1].getsockname()[1]
        assert HTTP.get(f"{second.url}/metrics").status_code == 404


def test_systemd_is_notified_of_ready_and_stopping(first: IssuerProcess, public: InheritedSocket) -> None:
    with notified_manager() as manager:
        with _another(first, public) as second:
            assert manager.recv(100) == b"READY=1"
            assert second.stop() == 0
        assert manager.recv(100) == b"STOPPING=1"


def test_an_unusable_socket_is_one_line(public: InheritedSocket, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as idle:
        unix.bind(str(tmp_path / "issuer.sock"))
        unix.listen()
        assert _failure(tmp_path, ("public", unix)) == (
            "an inherited socket is not a TCP socket: give ListenStream= a port"
        )
        assert "is not a listening stream socket" in _failure(tmp_path, ("public", idle))
    assert _failure(tmp_path, public, public) == ("2 sockets are inherited: pass one, and optionally one named admin")


def _failure(folder: Path, *inherited: tuple[str, Any]) -> str:
    settings = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "KEYS_DIR": str(folder / "keys")}
    return failed_start("issuer", inherited, environment("issuer", settings))
