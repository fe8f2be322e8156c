"""`python -m verifier`: one line for each error, and explained decisions."""

import socket
from pathlib import Path
from time import time
from typing import Any

import pytest

from tests.support.jwks_server import running_jwks_server, serves
from tests.support.processes import free_port
from tests.support.token_forge import ISSUER, Forge
from tests.support.verifier_process import VerifierFolder, verifier_command

_CHECKS = 14


def _settings(folder: VerifierFolder, **changes: Any) -> dict[str, Any]:
    folder.publish()
    ports = {"PORT": free_port(), "ADMIN_PORT": free_port()}
    return {"ISSUER": ISSUER, "JWKS_FILE": folder.jwks, **ports, **changes}


def test_all_invalid_settings_are_named_at_once() -> None:
    done = verifier_command(
        PORT="99999", AUDIENSE="x", LOG_LEVEL="loud", UDS_MODE="rwx", REALM='a"b', CACHE_ENTRIES="-1"
    )
    assert (done.returncode, done.stdout) == (2, "")
    for name in ("PORT", "AUDIENSE", "LOG_LEVEL", "UDS_MODE", "REALM", "CACHE_ENTRIES"):
        assert f"VERIFIER_{name}: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("changes", "why"), [
    ({"ISSUER": None, "JWKS_FILE": None}, "VERIFIER_ISSUER: required"),
    ({"POLICIES_FILE": "/nonexistent.toml"}, "/nonexistent.toml: cannot be read"),
    ({"POLICIES_FILE": "/dev/zero"}, "/dev/zero: not a regular file"),
    ({"CA_FILE": __file__}, "VERIFIER_CA_FILE: "),
])  # fmt: skip
def test_an_invalid_setting_is_one_line_and_exit_status_2(
    folder: VerifierFolder, changes: dict[str, Any], why: str
) -> None:
    for command in ("serve", "check-config", "explain"):
        done = verifier_command(command, **_settings(folder, **changes))
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_policy_without_an_issuer_among_several_is_one_line(folder: VerifierFolder) -> None:
    folder.policies.write_text(
        f'[issuers."https://other.example"]\njwks_file = "{folder.jwks}"\n'
        f'[policies.default]\nissuers = ["{ISSUER}"]\n[policies.admin]\nscopes_all = ["admin"]'
    )
    for command in ("serve", "check-config", "explain"):
        done = verifier_command(command, **_settings(folder, POLICIES_FILE=folder.policies))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "policies.admin.issuers: required, since there is more than one issuer; "
            f"name one or more of {ISSUER}, https://other.example\n"
        )


@pytest.mark.parametrize("setting", ["PORT", "ADMIN_PORT"])
def test_a_port_in_use_is_one_line_and_exit_status_1(folder: VerifierFolder, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = verifier_command(**_settings(folder, **{setting: port}))
    assert done.returncode == 1
    assert done.stderr == (
        f"cannot listen on 127.0.0.1 port {port}: Address already in use; "
        f"free the port, or set VERIFIER_{setting} to another\n"
    )


def test_a_unix_socket_in_use_is_one_line_and_left_alone(folder: VerifierFolder) -> None:
    uds = folder.path / "verifier.sock"
    with folder.running(UDS=uds) as verifier:
        done = verifier_command(**_settings(folder, UDS=uds))
        assert done.returncode == 1
        assert done.stderr.startswith(f"cannot listen on {uds}: Address already in use; ")
        assert done.stderr.count("\n") == 1
        assert verifier.ask(token=verifier.token()).status == 200


@pytest.mark.parametrize(("changes", "why"), [
    ({"UDS": "/nonexistent/verifier.sock"}, "No such file or directory"),
    ({"UDS": "/proc/verifier.sock"}, ""),
    ({"UDS": "/tmp/" + "x" * 200}, "too long"),
    ({"HOST": "192.0.2.1"}, "Cannot assign requested address"),
    ({"HOST": "no such host"}, ""),
    ({"UDS_GROUP": "no-such-group"}, "no group"),
])  # fmt: skip
def test_an_unavailable_listen_address_is_one_line(folder: VerifierFolder, changes: dict[str, Any], why: str) -> None:
    if "UDS_GROUP" in changes:
        changes = {**changes, "UDS": folder.path / "verifier.sock"}
    done = verifier_command(**_settings(folder, **changes))
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_in_the_place_of_the_socket_is_left_alone(folder: VerifierFolder) -> None:
    uds = folder.path / "precious"
    uds.write_text("data")
    done = verifier_command(**_settings(folder, UDS=uds))
    assert (done.returncode, uds.read_text()) == (1, "data")


def test_check_config_reports_policies_and_keys(folder: VerifierFolder) -> None:
    folder.policies.write_text('[policies.admin]\nscopes_all = ["admin"]')
    done = verifier_command("check-config", **_settings(folder, POLICIES_FILE=folder.policies))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"policy admin: issuers {ISSUER}",
        f"policy default: issuers {ISSUER}",
        "1 of 1 issuers have keys",
    ]


def test_check_config_fails_when_a_key_set_is_unavailable(folder: VerifierFolder) -> None:
    for changes in ({"JWKS_FILE": folder.path / "absent"}, {"JWKS_FILE": None, "JWKS_URL": "http://127.0.0.1:1/"}):
        done = verifier_command("check-config", **_settings(folder, **changes))
        assert done.returncode == 1
        assert done.stderr.startswith(f"issuer {ISSUER}: ")
        assert "0 of 1 issuers have keys" in done.stdout
    with running_jwks_server(serves(folder.forge.jwks)) as server:
        done = verifier_command("check-config", **_settings(folder, JWKS_FILE=None, JWKS_URL=server.url))
        assert done.returncode == 0


def test_explain_prints_each_numbered_check_and_never_the_token(folder: VerifierFolder, tmp_path: Path) -> None:
    settings = _settings(folder)
    valid, unknown_key = folder.forge.token(time()), Forge().token(time(), {"kid": folder.forge.kid})
    accepted = verifier_command("explain", stdin=valid + b"\n", **settings)
    assert (accepted.returncode, accepted.stderr) == (0, "")
    lines = accepted.stdout.splitlines()
    assert [line.split(".")[0].strip() for line in lines[:-1]] == [str(number + 1) for number in range(_CHECKS)]
    assert all(line.endswith("passed") for line in lines[:-1])
    assert lines[-1] == "accepted by policy default"
    file = tmp_path / "token"
    file.write_bytes(unknown_key)
    rejected = verifier_command("explain", str(file), **settings)
    assert rejected.returncode == 1
    lines = rejected.stdout.splitlines()
    assert [line.split()[-1] for line in lines[:6]] == ["passed"] * 6
    assert lines[6].endswith("FAILED: bad_signature")
    assert all(line.endswith("not reached") for line in lines[7:-1])
    assert lines[-1] == "rejected: bad_signature by policy default"
    for output, token in ((accepted.stdout, valid), (rejected.stdout, unknown_key)):
        assert not any(part in output for part in token.decode().split("."))


def test_explain_can_use_another_policy_and_time(folder: VerifierFolder) -> None:
    folder.policies.write_text('[policies.admin]\nscopes_all = ["admin"]')
    settings = _settings(folder, POLICIES_FILE=folder.policies)
    token = folder.forge.token(time())
    assert "insufficient_scope" in verifier_command("explain", "--policy", "admin", stdin=token, **settings).stdout
    assert "expired" in verifier_command("explain", "--now", "4000000000", stdin=token, **settings).stdout
    nowhere = verifier_command("explain", "--policy", "nowhere", stdin=token, **settings)
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert nowhere.stderr == "no policy nowhere: there are admin, default\n"


@pytest.mark.parametrize("now", ["nan", "inf", "today"])
def test_explain_rejects_what_is_not_a_time(folder: VerifierFolder, now: str) -> None:
    done = verifier_command("explain", "--now", now, stdin=folder.forge.token(time()), **_settings(folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert "--now: must be seconds since the epoch, such as 1800000000" in done.stderr


@pytest.mark.parametrize("token", [b"", b"\0", b"\xff" * 100, b"a.b.c", b"x" * 10_000, b"Bearer x"])
def test_explain_rejects_malformed_input(folder: VerifierFolder, token: bytes) -> None:
    done = verifier_command("explain", stdin=token, **_settings(folder))
    assert (done.returncode, done.stderr) == (1, "")
    assert "rejected" in done.stdout


def test_explain_names_an_unreadable_file(folder: VerifierFolder, tmp_path: Path) -> None:
    for file in (tmp_path / "absent", tmp_path):
        done = verifier_command("explain", str(file), **_settings(folder))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"{file}: cannot be read")
        assert done.stderr.count("\n") == 1
