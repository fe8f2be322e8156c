"""The real programs accept the settings, commands and limits in the Kubernetes manifests."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from issuer import __main__ as issuer_commands
from issuer.http.server import _DRAIN_SECONDS
from issuer.passwords.hasher import ARGON2_COSTS
from issuer.passwords.resources import ensure_memory
from issuer.settings import IssuerSettings
from tests.support.certificates import self_signed
from tests.support.overlays import FOLDER, OVERLAYS, Container, Rendered, rendered
from tests.support.processes import finished, free_port
from verifier import __main__ as verifier_commands
from verifier.settings import VerifierSettings
from verifier.subrequest.http_server import CLOSE_GRACE_SECONDS

PARSERS: Final = {"gatepass-issuer": issuer_commands._parser, "gatepass-verifier": verifier_commands._parser}
README: Final = (FOLDER / "README.md").read_text(encoding="utf-8")
UNITS: Final = {"Mi": 1 << 20, "Gi": 1 << 30}
SECRETS: Final = {
    "database_url": "postgresql://issuer:p@postgres-rw.gatepass:5432/gatepass",
    "mail_url": "smtps://gatepass:p@mail.example.com",
}
SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")
"""The first message of a PostgreSQL client that requires TLS (protocol, "Message Formats")."""


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> Rendered:
    return rendered(request.param)


def _environment(overlay: Rendered, container: Container) -> dict[str, str]:
    """Return the environment of a container, with test secrets instead of secret files."""
    environ = overlay.environment(container)
    for name in {"ISSUER_DATABASE_URL_FILE", "ISSUER_MAIL_URL_FILE"} & environ.keys():
        environ[name.removesuffix("_FILE")] = SECRETS[Path(environ.pop(name)).name]
    return environ


def _issuer(overlay: Rendered, container: Container) -> IssuerSettings:
    return IssuerSettings.from_environment(_environment(overlay, container))


def _verifier(overlay: Rendered, container: Container) -> VerifierSettings:
    return VerifierSettings.from_environment(_environment(overlay, container))


def _settings(overlay: Rendered, container: Container) -> IssuerSettings | VerifierSettings:
    read = _issuer if container.image.endswith("issuer") else _verifier
    return read(overlay, container)


def _run(side: str, arguments: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command, path = [sys.executable, "-m", side, *arguments], {"PATH": os.environ["PATH"]}
    return finished(command, environ={**path, **environ})


def test_every_container_has_valid_settings_and_arguments(overlay: Rendered) -> None:
    for _, container in overlay.ours():
        settings = _settings(overlay, container)
        PARSERS[container.image]().parse_args(container.described["args"])
        if isinstance(settings, IssuerSettings) and container.described["args"][0] in {"serve", "migrate"}:
            assert settings.require_database() == SECRETS["database_url"]


def test_every_file_of_a_setting_is_mounted(overlay: Rendered) -> None:
    for pod, container in overlay.ours():
        environ, mounts = overlay.environment(container), pod.mounts(container)
        files = {value for name, value in environ.items() if name.endswith("_FILE")}
        folders = {environ["ISSUER_KEYS_DIR"]} if container.described["args"][0] == "keys" else set()
        if "ISSUER_DATABASE_URL_FILE" in environ:
            files.add(environ["PGSSLROOTCERT"])
        assert {str(Path(file).parent) for file in files} | folders <= mounts.keys(), container.name


def test_every_listener_matches_its_container_port(overlay: Rendered) -> None:
    for _, container in overlay.ours():
        if container.serves:
            settings = _settings(overlay, container)
            assert (settings.admin_host, settings.admin_port) == ("0.0.0.0", container.ports["admin"])
            others = set(container.ports.values()) - {settings.admin_port}
            # A sidecar is there for its pod alone.
            assert (settings.host, others) in (("0.0.0.0", {settings.port}), ("127.0.0.1", set()))


def test_issuer_and_verifiers_agree_on_url_and_audience(overlay: Rendered) -> None:
    issuers = [_issuer(overlay, container) for _, container in overlay.ours("gatepass-issuer")]
    verifiers = [_verifier(overlay, container) for _, container in overlay.ours("gatepass-verifier")]
    [agreed] = {(settings.url, settings.audience) for settings in issuers}
    [port] = overlay.of("Service")["issuer"]["spec"]["ports"]
    for settings in verifiers:
        assert (settings.issuer, settings.audience) == agreed
        assert settings.jwks_url == f"http://issuer:{port['port']}/.well-known/jwks.json"
        assert settings.status_lists == f"http://issuer:{port['port']}/status-lists"


def test_pods_have_time_to_drain(overlay: Rendered) -> None:
    for pod, container in overlay.ours():
        if container.serves:
            [hook] = [found.described["lifecycle"] for found in pod.containers if "lifecycle" in found.described]
            pause = hook["preStop"]["sleep"]["seconds"]
            assert pause >= 5, pod.name
            assert pod.spec["terminationGracePeriodSeconds"] > pause + _end(_settings(overlay, container)), pod.name


def _end(settings: IssuerSettings | VerifierSettings) -> float:
    """Return the seconds that a program may run after the signal to stop."""
    if isinstance(settings, IssuerSettings):
        return _DRAIN_SECONDS + settings.password_hash_timeout_seconds
    return settings.drain_seconds + 2 * CLOSE_GRACE_SECONDS


def test_an_issuer_has_memory_for_its_hashes(overlay: Rendered) -> None:
    [issuer] = [container for _, container in overlay.ours("gatepass-issuer") if container.serves]
    resources = issuer.described["resources"]
    cost = ARGON2_COSTS[_issuer(overlay, issuer).argon2_memory_mib].memory_cost * 1024
    for bound in ("requests", "limits"):
        memory = resources[bound]["memory"]
        ensure_memory(int(resources["limits"]["cpu"]), cost, int(memory[:-2]) * UNITS[memory[-2:]])


@pytest.mark.parametrize("name", ["central", "sidecar"])
def test_a_verifier_accepts_its_policies(name: str, tmp_path: Path) -> None:
    overlay = rendered(name)
    [(pod, container)] = overlay.ours("gatepass-verifier")
    environ, policies = _environment(overlay, container), overlay.of("ConfigMap")["policies"]
    given = Path(environ["VERIFIER_POLICIES_FILE"])
    assert pod.mounts(container)[str(given.parent)][0]["configMap"] == {"name": policies["metadata"]["name"]}
    assert "emptyDir" in pod.mounts(container)[environ["VERIFIER_CACHE_DIR"]][0]
    (tmp_path / given.name).write_text(policies["data"][given.name])
    unused = f"127.0.0.1:{free_port()}"
    environ |= {"VERIFIER_POLICIES_FILE": str(tmp_path / given.name), "VERIFIER_CACHE_DIR": str(tmp_path)}
    here = {variable: value.replace("issuer:8000", unused) for variable, value in environ.items()}
    done = _run("verifier", ["check-config"], here)
    assert done.returncode == 1, done.stderr
    assert re.findall("^policy admin: issuers https://auth.example.com$", done.stdout, re.MULTILINE)
    assert {line.partition(": ")[0] for line in done.stderr.splitlines()} == {"issuer https://auth.example.com"}


def test_the_first_issuer_generates_keys_and_the_job_rotates_them(tmp_path: Path) -> None:
    central = rendered("central")
    makers = {pod.name: container for pod, container in central.ours() if container.name == "keys"}
    environs = [central.environment(makers[name]) for name in ("issuer", "keys")]
    assert environs[0] == environs[1]
    for name in ("issuer", "keys"):
        done = _run("issuer", makers[name].described["args"], environs[0] | {"ISSUER_KEYS_DIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "public/jwks.json").is_file()


@pytest.mark.parametrize(
    ("host", "reply", "vouched_for", "received"),
    [
        ("127.0.0.1", b"S", "server", b"issuer"),
        ("127.0.0.1", b"S", "another", b""),
        ("localhost", b"S", "server", b""),
        ("127.0.0.1", b"N", "server", b""),
    ],
    ids=["our PostgreSQL", "of another authority", "of another name", "without TLS"],
)
def test_the_issuer_sends_nothing_to_an_unverified_database(
    tmp_path: Path, host: str, reply: bytes, vouched_for: str, received: bytes
) -> None:
    for name in ("server", "another"):
        (tmp_path / name).mkdir()
    tls, _ = self_signed(tmp_path / "server")
    self_signed(tmp_path / "another")
    central = rendered("central")
    [migrate] = [container for _, container in central.ours() if container.name == "migrate"]
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = threading.Thread(target=_hear, args=(server, tls, reply, heard))
        listener.start()
        environ = _environment(central, migrate) | {
            "ISSUER_DATABASE_URL": f"postgresql://issuer:p@{host}:{server.getsockname()[1]}/gatepass",
            "PGSSLROOTCERT": str(tmp_path / vouched_for / "server.pem"),
        }
        done = _run("issuer", migrate.described["args"], environ)
        listener.join()
    assert (done.returncode, done.stdout) == (1, "")
    assert heard[0] == SSL_REQUEST
    assert received in heard[1]
    assert bool(received) is bool(heard[1])


def _hear(server: socket.socket, tls: ssl.SSLContext, reply: bytes, heard: list[bytes]) -> None:
    """Record the data that a client sends in plain text and then, where TLS was offered, by TLS."""
    connection, _ = server.accept()
    with connection:
        heard.append(connection.recv(1024))
        connection.sendall(reply)
        if reply == b"N":
            heard.append(connection.recv(1024))
            return
        try:
            with tls.wrap_socket(connection, server_side=True) as encrypted:
                heard.append(encrypted.recv(1024))
        except ssl.SSLError:
            heard.append(b"")


def test_the_documented_response_to_a_leaked_key_works() -> None:
    jobs = rendered("central").of("CronJob")
    assert set(re.findall(r"--from=cronjob/(\w+)", README)) == jobs.keys() == {"keys"}
    [[change]] = [json.loads(patch) for patch in re.findall(r"-p '(.*)'", README)]
    place: Any = jobs["keys"]["spec"]["jobTemplate"]
    for step in change["path"].strip("/").split("/"):
        place = place[int(step) if step.isdigit() else step]
    assert (change["op"], place) == ("replace", ["keys", "advance"])
    issuer_commands._parser().parse_args(change["value"])
