"""One stack as `make run` starts it: requests through it over HTTP, and restarts of its processes."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.plain_http import get_status
from tests.support.processes import finished, wait_until
from tests.support.programs import program
from tests.support.stack import Stack, running_stack
from tests.support.token_forge import claims_of


@pytest.fixture(scope="module")
def stack(module_folder: Path) -> Iterator[Stack]:
    with running_stack(module_folder / "home") as stack:
        yield stack


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    assert stack.account("/register", "grace@example.com").status_code == 201
    return str(stack.account("/login", "grace@example.com").json()["access_token"])


def test_a_registered_user_passes_the_gateway(stack: Stack, token: str) -> None:
    response = stack.gateway("/hello", token)
    assert response.status_code == 200
    assert response.json()["identity"]["X-Auth-Subject"] == claims_of(token)["sub"]


def test_progress_and_one_ready_line_are_printed(stack: Stack) -> None:
    lines = [line for line in stack.output.splitlines() if line.startswith("gatepass: ")]
    assert "with a new database" in lines[0]
    assert sum("ready: " in line for line in lines) == 1


def test_the_printed_commands_work(stack: Stack) -> None:
    program("curl")
    session = stack.output.partition("# register")[2]
    typed = finished(["sh", "-eu"], stdin="# register" + session)
    assert typed.returncode == 0, typed.stderr
    assert '"email":"ada@example.com"' in typed.stdout
    assert '"X-Auth-Scope": "profile"' in typed.stdout
    statuses = re.findall(r"HTTP/1.1 (\d+)", typed.stdout)
    assert statuses == ["401", "403", "401"]
    # The refreshed token passed the gateway before the logout.
    assert typed.stdout.count('"X-Auth-Session"') == 2


def test_everything_listens_on_loopback(stack: Stack) -> None:
    listening = {
        connection.laddr.ip
        for process in stack.descendants()
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}


def test_no_secret_is_in_arguments_or_logs(stack: Stack, token: str) -> None:
    arguments = " ".join(word for process in stack.descendants() for word in process.cmdline())
    assert "postgresql://" not in arguments
    logs = stack.output + "".join(log.read_text() for log in (stack.home / "logs").glob("*.log"))
    assert token not in logs
    assert "seven quiet green rivers" not in logs.replace(stack.output, "")


def test_the_verifier_gets_no_database_and_no_private_key(stack: Stack) -> None:
    environ = stack.child("-m verifier").environ()
    assert not [name for name in environ if name.startswith("ISSUER_")]
    assert "private" not in " ".join(environ.values())


def test_tokens_are_checked_while_issuer_and_database_restart(stack: Stack, token: str) -> None:
    for process in (stack.child("bin/postgres", "-D"), stack.child("-m issuer")):
        process.kill()
    wait_until(lambda: stack.me(token) == 0, "the issuer is down")
    wait_until(lambda: _checked_meanwhile(stack, token) and stack.me(token) == 200, "the issuer is up", 30)
    assert stack.account("/login", "grace@example.com").status_code == 200
    wait_until(
        lambda: "issuer is running again" in stack.output and "postgresql is running again" in stack.output,
        "reported",
    )
    assert "issuer was killed by SIGKILL. Last lines of " in stack.output
    assert '"event": "request"' in stack.output.partition("issuer was killed")[2]


@pytest.mark.parametrize("command", ["-m verifier", "--config-path", "-m stack.sample_app"])
def test_a_killed_process_is_restarted(stack: Stack, token: str, command: str) -> None:
    dead = stack.child(command)
    dead.send_signal(signal.SIGKILL)
    wait_until(lambda: not dead.is_running(), "dead")
    wait_until(lambda: get_status(stack.url("GATEWAY_PORT"), Authorization=f"Bearer {token}") == 200, "back", 30)


def _checked_meanwhile(stack: Stack, token: str) -> bool:
    assert stack.gateway("/", token).status_code == 200
    assert stack.gateway("/").status_code == 401
    return True
