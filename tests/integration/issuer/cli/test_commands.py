"""Commands of `python -m issuer` and their errors."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.jwks import parse_jwks
from tests.support.issuer_process import IssuerProcess, issuer_command, running_issuer
from tests.support.postgres import Postgres
from tests.support.processes import free_port
from tests.support.signing_keys import generate_key


def test_keys_are_generated_and_listed(tmp_path: Path) -> None:
    folder = str(tmp_path / "keys")
    made = [issuer_command("keys", "generate", KEYS_DIR=folder).stdout for _ in range(2)]
    listed = issuer_command("keys", "list", KEYS_DIR=folder).stdout
    assert listed == "".join(made)
    assert [line.split()[1] for line in made] == ["current", "next"]
    published = parse_jwks((tmp_path / "keys/public/jwks.json").read_bytes()).keys
    assert set(published) == {line.split()[0] for line in made}


def test_a_key_is_made_only_if_there_is_none(tmp_path: Path) -> None:
    folder = str(tmp_path / "keys")
    runs = [issuer_command("keys", "generate", "--if-missing", KEYS_DIR=folder) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert len(list((tmp_path / "keys/private").glob("*.pem"))) == 1


def _keys(folder: Path, *arguments: str, **settings: str) -> list[dict[str, str]]:
    """Return what a `keys` command prints as JSON."""
    run = issuer_command("keys", *arguments, "--json", KEYS_DIR=str(folder), **settings)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_every_keys_command_prints_json(tmp_path: Path) -> None:
    (first,) = _keys(tmp_path, "generate")
    assert (first["state"], first["private"]) == ("current", "plain")
    (made,) = _keys(tmp_path, "rotate")
    assert made["action"] == "created"
    assert [key["kid"] for key in _keys(tmp_path, "list")] == [first["kid"], made["name"]]
    (secret,) = _keys(tmp_path, "list", "--mac-secrets")
    (waiting,) = _keys(tmp_path, "rotate-mac-secret")
    assert (secret["state"], waiting["state"]) == ("current", "next")
    assert _keys(tmp_path, "advance") == []
    assert _keys(tmp_path, "revoke", first["kid"]) == [
        {"name": first["kid"], "action": "removed"},
        {"name": made["name"], "action": "promoted"},
    ]


def test_the_rotation_age_is_a_setting(tmp_path: Path) -> None:
    generate_key(tmp_path, datetime.now(UTC) - timedelta(days=8))
    assert _keys(tmp_path, "advance") == _keys(tmp_path, "advance", KEY_ROTATION_DAYS="0") == []
    assert [step["action"] for step in _keys(tmp_path, "advance", KEY_ROTATION_DAYS="7")] == ["created"]


def test_a_passphrase_is_changed_by_files_only(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for file in (old, new):
        file.write_text(f"the {file.name} passphrase, quite long\n")
    _keys(tmp_path / "keys", "generate", KEYS_PASSPHRASE_FILE=str(old))
    wrapped = _keys(tmp_path / "keys", "rewrap", "--old-passphrase-file", str(old), KEYS_PASSPHRASE_FILE=str(new))
    assert [step["action"] for step in wrapped] == ["rewrapped", "rewrapped"]
    (key,) = _keys(tmp_path / "keys", "list", KEYS_PASSPHRASE_FILE=str(new))
    assert key["private"] == "encrypted"


def test_a_short_passphrase_is_a_settings_error(tmp_path: Path) -> None:
    run = issuer_command("keys", "list", KEYS_DIR=str(tmp_path), KEYS_PASSPHRASE="too short")
    assert run.returncode == 2
    assert "must have 16 to 256 characters" in run.stderr
    assert "too short" not in run.stderr


def test_a_private_key_readable_by_others_stops_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    issuer_command("keys", "generate", KEYS_DIR=str(folder))
    next((folder / "private").glob("*.pem")).chmod(0o644)
    for command in (["keys", "list"], ["serve"]):
        run = issuer_command(
            *command,
            KEYS_DIR=str(folder),
            DATABASE_URL="postgresql://localhost/x",
            PORT=str(free_port()),
            ADMIN_PORT=str(free_port()),
        )
        assert run.returncode == 1
        assert run.stderr.count("\n") == 1
        assert "chmod 600" in run.stderr


def test_every_settings_error_is_reported_at_once() -> None:
    run = issuer_command("serve", PORT="http", AUDIENSE="x", ACCESS_TOKEN_SECONDS="5")
    assert run.returncode == 2
    lines = run.stderr.splitlines()
    assert {line.split(":")[0] for line in lines} == {"ISSUER_PORT", "ISSUER_AUDIENSE", "ISSUER_ACCESS_TOKEN_SECONDS"}
    assert len(lines) == 3


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_missing_database_url_is_reported(command: str) -> None:
    run = issuer_command(command)
    assert (run.returncode, run.stderr) == (2, "ISSUER_DATABASE_URL: is required by this command\n")


def test_the_database_url_may_be_read_from_a_file(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{database_url}\n")
    assert issuer_command("migrate", DATABASE_URL_FILE=str(tmp_path / "url")).returncode == 0


@pytest.mark.parametrize("arguments", [[], ["keys"], ["sing"], ["serve", "--fast"]])
def test_an_unknown_command_prints_the_usage(arguments: list[str]) -> None:
    run = issuer_command(*arguments)
    assert run.returncode == 2
    assert run.stderr.startswith("usage: python -m issuer")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["users", "show"], "ID|EMAIL"),
        (
            ["users", "disable", "ada@example.com"],
            "argument ID: must be the id of the account, which `users show EMAIL` prints",
        ),
        (
            ["sessions", "revoke", "1"],
            "argument SESSION_ID: must be the id of the session, which `sessions list` prints",
        ),
        (["users", "list", "--limit", "0"], "argument --limit: must be a number from 1 to 10000"),
        (["audit", "list", "--limit", "all"], "argument --limit: must be a number from 1 to 10000"),
        (["audit", "list", "--since", "yesterday"], "argument --since: must be a time such as 2026-01-31 or"),
        (["audit", "list", "--since", "0001-01-01T00:00+14:00"], "argument --since: must be a time such as"),
        (["audit", "list", "--kind", "login"], "argument --kind: invalid choice: 'login' (choose from"),
        (["calibrate", "--seconds", "soon"], "argument --seconds: must be a number from 1 to 600"),
    ],
)
def test_an_invalid_argument_is_reported_with_what_is_accepted(arguments: list[str], reason: str) -> None:
    run = issuer_command(*arguments)
    assert run.returncode == 2
    assert reason in run.stderr.splitlines()[-1]


def test_a_command_says_that_the_schema_is_not_migrated(postgres: Postgres) -> None:
    run = issuer_command("users", "list", DATABASE_URL=postgres.new_database())
    assert run.returncode == 1
    assert run.stderr.endswith(": UndefinedTableError (run `migrate` first)\n")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = issuer_command("serve", PORT=port, KEYS_DIR=str(tmp_path), DATABASE_URL="postgresql://localhost/x")
    assert run.returncode == 1
    assert run.stderr == f"cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_an_invalid_listen_address_is_one_line(tmp_path: Path) -> None:
    run = issuer_command("serve", HOST="999.1.1.1", KEYS_DIR=str(tmp_path), DATABASE_URL="postgresql://localhost/x")
    assert run.returncode == 1
    assert run.stderr == "cannot listen on 999.1.1.1 port 8000: not an address of this machine\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_issuer_cleanly(database_url: str, number: signal.Signals) -> None:
    with running_issuer(database_url) as issuer:
        assert issuer.stop(number) == 0
        assert '"issuer_stopped"' in issuer.log()
        assert "Traceback" not in issuer.log()


def test_a_request_in_progress_gets_its_response_before_the_exit(issuer_to_stop: IssuerProcess) -> None:
    body = b'{"email":"ann@example.com","password":"a long and lonely walk"}'
    with socket.create_connection(("127.0.0.1", issuer_to_stop.port), timeout=10) as client:
        client.sendall(b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        client.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body[:10]))
        client.sendall(body[10:])
        os.kill(issuer_to_stop.process.pid, signal.SIGTERM)
        response = b"".join(iter(lambda: client.recv(65536), b""))
    assert response.startswith(b"HTTP/1.1 201")
    assert issuer_to_stop.process.wait(timeout=10) == 0


def test_an_unfinished_request_does_not_delay_the_exit(issuer_to_stop: IssuerProcess) -> None:
    head = b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    ports = [issuer_to_stop.port, int(issuer_to_stop.admin_url.rsplit(":", 1)[1])]
    clients = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    for client in clients:
        client.sendall(head)
    assert issuer_to_stop.stop() == 0
    for client in clients:
        client.close()


@pytest.fixture
def issuer_to_stop(database_url: str) -> Iterator[IssuerProcess]:
    with running_issuer(database_url) as issuer:
        yield issuer
