"""The stack starts, reports why it cannot, and stops without leaving processes behind."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.support.processes import alive, listens, wait_until
from tests.support.stack import Stack, failed_start, running_stack, settings, starting_stack


@pytest.fixture(scope="module")
def home(module_folder: Path) -> Path:
    return module_folder / "home"


def test_a_second_run_keeps_users_and_keys(home: Path) -> None:
    with running_stack(home) as first:
        assert first.account("/register", "grace@example.com").status_code == 201
        keys = sorted((home / "keys/private").glob("*.pem"))
        _ends_within_five_seconds(first, signal.SIGTERM)
    with running_stack(home) as second:
        assert second.account("/login", "grace@example.com").status_code == 200
        assert sorted((home / "keys/private").glob("*.pem")) == keys
        assert "new database" not in second.output
        _ends_within_five_seconds(second, signal.SIGINT)


def _ends_within_five_seconds(stack: Stack, number: signal.Signals) -> None:
    descendants = stack.descendants()
    stack.process.send_signal(number)
    assert stack.process.wait(5) == 0
    assert alive(descendants) == []
    assert stack.output.endswith("gatepass: stopping\ngatepass: stopped\n")


@pytest.mark.parametrize("step", ["new database", "applying migrations", "starting the gateway"])
def test_a_signal_during_startup_stops_it(folder: Path, step: str) -> None:
    with starting_stack(folder / "home") as stack:
        wait_until(lambda: step in stack.output, step, seconds=60)
        _ends_within_five_seconds(stack, signal.SIGTERM)


def test_after_kill_no_process_is_left_and_it_can_start_again(home: Path) -> None:
    environ = settings(home)
    with running_stack(home, environ) as stack:
        assert stack.account("/register", "alan@example.com").status_code == 201
        descendants = stack.descendants()
        stack.stop(signal.SIGKILL)
        # At once, while the reaper still cleans up after the first, and on the same ports.
        with running_stack(home, environ) as second:
            assert alive(descendants) == []
            assert second.account("/login", "alan@example.com").status_code == 200


def test_after_kill_hanging_children_are_stopped_too(home: Path) -> None:
    with running_stack(home) as stack:
        descendants = stack.descendants()
        stack.child("-m issuer").suspend()
        stack.child("-m verifier").suspend()
        stack.stop(signal.SIGKILL)
        wait_until(lambda: alive(descendants) == [], "all processes have exited", 8)


def test_a_port_in_use_is_reported_before_anything_starts(folder: Path) -> None:
    environ = settings(folder / "home")
    with socket.create_server(("127.0.0.1", int(environ["VERIFIER_PORT"]))):
        status, output = failed_start(environ)
    assert (status, output.count("\n")) == (1, 1)
    assert f"port in use: {environ['VERIFIER_PORT']} (VERIFIER_PORT, used by " in output
    assert not (folder / "home/postgres").exists()


def test_a_state_folder_in_use_is_reported(home: Path) -> None:
    with running_stack(home) as stack:
        status, output = failed_start(settings(home))
        _ends_within_five_seconds(stack, signal.SIGHUP)
    assert (status, output.count("\n")) == (1, 1)
    assert f"another stack (process {stack.process.pid}) uses {home}" in output


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("GATEWAY_PORT", "http", "GATEWAY_PORT must be a port from 1 to 65535"),
        ("GATEWAY_PORT", "70000", "GATEWAY_PORT must be a port from 1 to 65535"),
        ("GATEPASS_HOME", "/proc/gatepass", "cannot write /proc/gatepass"),
    ],
)
def test_an_invalid_setting_is_one_line(folder: Path, variable: str, value: str, complaint: str) -> None:
    if value.startswith("/proc") and not sys.platform.startswith("linux"):
        pytest.skip("there is no /proc")
    status, output = failed_start(settings(folder / "home") | {variable: value})
    assert (status, output.count("\n")) == (1, 1)
    assert complaint in output


def test_a_port_used_twice_is_one_line(folder: Path) -> None:
    environ = settings(folder / "home")
    status, output = failed_start(environ | {"ISSUER_PORT": environ["GATEWAY_PORT"]})
    assert (status, output.count("\n")) == (1, 1)
    assert f"GATEWAY_PORT and ISSUER_PORT are both {environ['GATEWAY_PORT']}" in output


def test_a_child_that_fails_is_reported_and_all_are_stopped(folder: Path) -> None:
    environ = settings(folder / "home") | {"VERIFIER_AUDIENSE": "typo"}
    status, output = failed_start(environ)
    assert status == 1
    assert "verifier exited with status 2. Last lines of " in output
    assert "VERIFIER_AUDIENSE: no such setting" in output
    assert not [port for port in environ if port.endswith("_PORT") and listens(int(environ[port]))]


def test_a_deep_state_folder_with_an_unfinished_database_works(folder: Path) -> None:
    home = folder / ("d" * 100) / "home"
    (home / "postgres.unfinished/base").mkdir(parents=True)
    with running_stack(home) as stack:
        assert stack.account("/register", "grace@example.com").status_code == 201
