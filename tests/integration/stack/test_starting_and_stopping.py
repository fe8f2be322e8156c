"""How a stack starts, refuses to start, and ends without leaving anything behind."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.support.processes import alive, wait_until
from tests.support.stack import Stack, refused_start, running_stack, settings, starting_stack


@pytest.fixture(scope="module")
def home(module_folder: Path) -> Path:
    return module_folder / "home"


def test_a_second_run_finds_the_users_and_the_keys_of_the_first(home: Path) -> None:
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
def test_a_signal_while_it_starts_stops_it_too(folder: Path, step: str) -> None:
    with starting_stack(folder / "home") as stack:
        wait_until(lambda: step in stack.output, step)
        _ends_within_five_seconds(stack, signal.SIGTERM)


def test_even_killed_it_leaves_nobody_behind_and_can_start_again(home: Path) -> None:
    environ = settings(home)
    with running_stack(home, environ) as stack:
        assert stack.account("/register", "alan@example.com").status_code == 201
        descendants = stack.descendants()
        stack.stop(signal.SIGKILL)
        # At once, while the guard still clears up after the first, and on the same ports.
        with running_stack(home, environ) as second:
            assert alive(descendants) == []
            assert second.account("/login", "alan@example.com").status_code == 200


def test_even_killed_with_children_that_hang_it_leaves_nobody_behind(home: Path) -> None:
    with running_stack(home) as stack:
        descendants = stack.descendants()
        stack.child("-m issuer").suspend()
        stack.child("-m verifier").suspend()
        stack.stop(signal.SIGKILL)
        wait_until(lambda: alive(descendants) == [], "nobody left", 8)


def test_a_port_in_use_is_one_clear_line_before_anything_starts(folder: Path) -> None:
    environ = settings(folder / "home")
    with socket.create_server(("127.0.0.1", int(environ["VERIFIER_PORT"]))):
        status, output = refused_start(environ)
    assert (status, output.count("\n")) == (1, 1)
    assert f"port in use: {environ['VERIFIER_PORT']} (VERIFIER_PORT, used by " in output
    assert not (folder / "home/postgres").exists()


def test_a_state_folder_in_use_is_one_clear_line(home: Path) -> None:
    with running_stack(home) as stack:
        status, output = refused_start(settings(home))
        _ends_within_five_seconds(stack, signal.SIGHUP)
    assert (status, output.count("\n")) == (1, 1)
    assert f"another stack (process {stack.process.pid}) runs on {home}" in output


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("GATEWAY_PORT", "http", "GATEWAY_PORT must be a port from 1 to 65535"),
        ("GATEWAY_PORT", "70000", "GATEWAY_PORT must be a port from 1 to 65535"),
        ("GATEPASS_HOME", "/proc/gatepass", "/proc/gatepass can't be written"),
    ],
)
def test_a_setting_that_cannot_be_is_one_clear_line(folder: Path, variable: str, value: str, complaint: str) -> None:
    if value.startswith("/proc") and not sys.platform.startswith("linux"):
        pytest.skip("there is no /proc")
    status, output = refused_start(settings(folder / "home") | {variable: value})
    assert (status, output.count("\n")) == (1, 1)
    assert complaint in output


def test_two_of_ours_on_one_port_is_one_clear_line(folder: Path) -> None:
    environ = settings(folder / "home")
    status, output = refused_start(environ | {"ISSUER_PORT": environ["GATEWAY_PORT"]})
    assert (status, output.count("\n")) == (1, 1)
    assert f"GATEWAY_PORT and ISSUER_PORT are both {environ['GATEWAY_PORT']}" in output


def test_a_child_that_cannot_start_is_named_with_its_last_lines_and_nothing_is_left(folder: Path) -> None:
    environ = settings(folder / "home") | {"VERIFIER_AUDIENSE": "typo"}
    status, output = refused_start(environ)
    assert status == 1
    assert "verifier ended with status 2. Its last lines (" in output
    assert "VERIFIER_AUDIENSE: no such setting" in output
    assert not [port for port in environ if port.endswith("_PORT") and _listens(int(environ[port]))]


def test_a_deep_state_folder_with_half_a_database_in_it_works(folder: Path) -> None:
    home = folder / ("d" * 100) / "home"
    (home / "postgres.unfinished/base").mkdir(parents=True)
    with running_stack(home) as stack:
        assert stack.account("/register", "grace@example.com").status_code == 201


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
