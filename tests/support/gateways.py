"""Real gateways with the configurations of `deploy/gateways/`, before the sample application."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from stack import gateway_config
from tests.support.certificates import site_certificate
from tests.support.clusters.running import TRANSLATED, running_translation
from tests.support.gateway_programs import COMPLETE, EXTERNAL, PROGRAMS
from tests.support.processes import ROOT, free_port, listens, running, wait_until
from tests.support.tls_bridge import tls_bridge
from tests.support.token_forge import AUDIENCE, Forge

POLICIES: Final = ROOT / "deploy/gateways/policies.toml"
GATEWAYS: Final = (*PROGRAMS, *TRANSLATED)
_TIMEOUT_SECONDS: Final = 10.0
_PORTS: Final = ("GATEWAY_PORT", "VERIFIER_PORT", "APPLICATION_PORT", "ISSUER_PORT", "CHECK_PORT")


@dataclass(frozen=True)
class Answer:
    """The response of a gateway."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def challenge(self) -> str | None:
        return self.headers["WWW-Authenticate"]

    @property
    def application(self) -> dict[str, Any]:
        """Return what the sample application received; AssertionError if it received nothing."""
        assert self.status == HTTPStatus.OK, f"the gateway answered {self.status}"
        seen: dict[str, Any] = json.loads(self.body)
        return seen

    @property
    def identity(self) -> dict[str, str]:
        """The identity headers that the application got, without the empty ones."""
        return {name: value for name, value in self.application["identity"].items() if value}


def ask(
    port: int, path: str = "/", *lines: str, token: bytes | None = None, method: str = "GET", body: bytes = b""
) -> Answer:
    """Send a request byte for byte as written: no client between that would tidy it up."""
    head = [f"{method} {path} HTTP/1.1", "Host: app.example", "Connection: close", *lines]
    if token is not None:
        head.append(f"Authorization: Bearer {token.decode()}")
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read())


@dataclass
class Verifier:
    """A real verifier that can be stopped and started again on the same port."""

    folder: Path
    forge: Forge = field(default_factory=Forge)
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        environ = {
            "VERIFIER_PORT": str(self.port),
            "VERIFIER_ADMIN_PORT": str(self.admin_port),
            "VERIFIER_ISSUER": self.forge.issuer,
            "VERIFIER_AUDIENCE": AUDIENCE,
            "VERIFIER_JWKS_FILE": str(self.forge.publish(self.folder)),
            "VERIFIER_POLICIES_FILE": str(POLICIES),
            "VERIFIER_DRAIN_SECONDS": "0",
        }
        with running([sys.executable, "-m", "verifier"], self.folder / "verifier.log", environ) as process:
            wait_until(self._ready, "the verifier is ready")
            yield process

    def _ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.admin_port}/readyz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running_application(folder: Path) -> Iterator[int]:
    """The sample application; its port."""
    port = free_port()
    environ = {"APPLICATION_PORT": str(port)}
    with running([sys.executable, "-m", "stack.sample_app"], folder / "application.log", environ):
        wait_until(lambda: listens(port), "the application listens")
        yield port


@contextmanager
def running_gateway(
    name: str,
    folder: Path,
    verifier_port: int,
    application_port: int,
    change: tuple[str, str, str] | None = None,
    changes: Sequence[tuple[str, str, str]] = (),
    issuer_port: int | None = None,
) -> Iterator[int]:
    """The gateway `name`, its configuration in `folder`; its port.

    Args:
        name: one of `GATEWAYS`.
        folder: for its configuration and its log.
        verifier_port: of the verifier.
        application_port: of the application.
        change: a file of the configuration, what is to be replaced in it, and by what.
        changes: further ones.
        issuer_port: of the issuer, for a site that has one at /auth/; None: nothing listens there.
    """
    if name in TRANSLATED:
        with running_translation(name, folder, verifier_port, application_port) as port:
            yield port
        return
    port = free_port()
    addresses = {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "VERIFIER_HOST": "127.0.0.1",
        "VERIFIER_PORT": str(verifier_port),
        "APPLICATION_HOST": "127.0.0.1",
        "APPLICATION_PORT": str(application_port),
        "CHECK_PORT": str(free_port()),
        "ISSUER_PORT": str(issuer_port or free_port()),
    }
    if name in COMPLETE or name == EXTERNAL:
        gateway_config.write(name, folder, addresses)
    else:
        write_site(name, folder, addresses)
    for file, old, new in [*([change] if change else []), *changes]:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    log = folder / f"{name.replace('/', '-')}.log"
    # Caddy keeps house in its user's data folder otherwise.
    environ = {**addresses, "XDG_DATA_HOME": str(folder)}
    with running(PROGRAMS[name].command(folder), log, environ) as process:

        def started() -> bool:
            assert process.poll() is None, f"{name} ended: {log.read_text(encoding='utf-8')}"
            return listens(port)

        wait_until(started, f"{name} listens")
        with tls_bridge(port, folder) if PROGRAMS[name].tls else nullcontext(port) as plain:
            # Some listen before they have read their routes.
            wait_until(lambda: ask(plain).status != HTTPStatus.NOT_FOUND, f"{name} judges")
            yield plain


def write_site(name: str, folder: Path, ports: Mapping[str, str]) -> None:
    """Write the files of `deploy/gateways/<name>` into `folder`, with other ports and a certificate."""
    ports = {name: str(free_port()) for name in _PORTS} | dict(ports)
    shutil.copytree(gateway_config.GATEWAYS / name, folder, dirs_exist_ok=True)
    certificate, key = site_certificate(folder)
    both = folder / "haproxy.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    for script in (gateway_config.GATEWAYS / name).parent.glob("*.lua"):
        shutil.copy(script, folder)
    changes = {
        "127.0.0.1:8001": f"127.0.0.1:{ports['VERIFIER_PORT']}",
        "127.0.0.1:8090": f"127.0.0.1:{ports['APPLICATION_PORT']}",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['GATEWAY_PORT']} ssl;",
        'address: ":80"': f'address: "127.0.0.1:{free_port()}"',
        'address: ":443"': f'address: "127.0.0.1:{ports["GATEWAY_PORT"]}"',
        "127.0.0.1:8002": f"127.0.0.1:{ports['CHECK_PORT']}",
        "127.0.0.1:8000": f"127.0.0.1:{ports['ISSUER_PORT']}",
        'address: "0.0.0.0", port_value: 443 ': f'address: "127.0.0.1", port_value: {ports["GATEWAY_PORT"]} ',
        "port_value: 8000 ": f"port_value: {ports['ISSUER_PORT']} ",
        "port_value: 8001 ": f"port_value: {ports['VERIFIER_PORT']} ",
        "port_value: 8090 ": f"port_value: {ports['APPLICATION_PORT']} ",
        "bind :80\n": f"bind 127.0.0.1:{free_port()}\n",
        "bind :443 ": f"bind 127.0.0.1:{ports['GATEWAY_PORT']} ",
        "abns@gatepass": f"abns@gatepass-{ports['GATEWAY_PORT']}",
        "/etc/ssl/app.example.com/haproxy.pem": str(both),
        "\napp.example.com {": f"\nhttps://:{ports['GATEWAY_PORT']} {{\n\tbind 127.0.0.1",
        "\tadmin off": "\tadmin off\n\tauto_https disable_redirects",
        "/etc/ssl/app.example.com/fullchain.pem": str(certificate),
        "/etc/ssl/app.example.com/privkey.pem": str(key),
    }
    for path in folder.rglob("*"):
        if path.suffix in {".conf", ".cfg", ".yaml", ".caddy"} or path.name == "Caddyfile":
            text = path.read_text(encoding="utf-8")
            for old, new in changes.items():
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")


@contextmanager
def paused(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Suspend a process and its children."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.suspend()
    try:
        yield
    finally:
        for member in family:
            member.resume()
