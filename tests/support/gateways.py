"""Real gateways with the configurations of `deploy/gateways/`, before the sample application."""

import http.client
import json
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from stack import gateway_config
from tests.support.clusters.running import TRANSLATED, running_translation
from tests.support.gateway_programs import COMPLETE, EXTERNAL, PROGRAMS
from tests.support.processes import ROOT, free_port, listens, running, wait_until
from tests.support.raw_http import bearer, request
from tests.support.sites import write_site
from tests.support.tls_bridge import tls_bridge
from tests.support.token_forge import Forge
from tests.support.verifier_process import VerifierFolder, VerifierProcess

POLICIES: Final = ROOT / "deploy/gateways/policies.toml"
GATEWAYS: Final = (*PROGRAMS, *TRANSLATED)
_TIMEOUT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Response:
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
        assert self.status == HTTPStatus.OK, f"the gateway responded with {self.status}"
        seen: dict[str, Any] = json.loads(self.body)
        return seen

    @property
    def identity(self) -> dict[str, str]:
        """Return the identity headers that the application received, without empty ones."""
        return {name: value for name, value in self.application["identity"].items() if value}


def ask(
    port: int, path: str = "/", *lines: str, token: bytes | None = None, method: str = "GET", body: bytes = b""
) -> Response:
    """Send a request byte for byte as written, without a client library, which would normalise it."""
    fields = ["Host: app.example", "Connection: close", *lines, *([bearer(token)] if token is not None else [])]
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS) as connection:
        connection.sendall(request(path, *fields, method=method) + body)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        return Response(response.status, response.headers, response.read())


@dataclass
class Verifier:
    """A real verifier that can be stopped and started again on the same ports."""

    folder: Path
    forge: Forge = field(default_factory=Forge)
    policies: str = POLICIES.read_text(encoding="utf-8")
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)

    def running(self) -> AbstractContextManager[VerifierProcess]:
        """Run it, and stop it with the block."""
        folder = VerifierFolder(self.folder, self.forge)
        return folder.running(policies=self.policies, PORT=self.port, ADMIN_PORT=self.admin_port, DRAIN_SECONDS=0)


@contextmanager
def running_application(folder: Path) -> Iterator[int]:
    """Run the sample application; yield its port."""
    port = free_port()
    environ = {"APPLICATION_PORT": str(port)}
    command = [sys.executable, "-m", "stack.sample_app"]
    with running(command, folder / "application.log", environ, lambda: listens(port)):
        yield port


@contextmanager
def running_gateway(
    name: str,
    folder: Path,
    verifier_port: int,
    application_port: int,
    changes: Sequence[tuple[str, str, str]] = (),
    issuer_port: int | None = None,
    prepare: Callable[[Path], None] = lambda _: None,
    port: int | None = None,
) -> Iterator[int]:
    """Run the gateway `name` with its configuration in `folder`; yield its port.

    Args:
        name: one of `GATEWAYS`.
        folder: for its configuration and its log.
        changes: of the configuration: each a file, what is to be replaced in it, and by what.
        issuer_port: of the issuer, for a site that has one at /auth/; None: nothing listens there.
        prepare: changes the configuration in its folder further.
        port: of the gateway; None: any free one.
    """
    if name in TRANSLATED:
        with running_translation(name, folder, verifier_port, application_port) as translated:
            yield translated
        return
    port = port or free_port()
    addresses = {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "VERIFIER_HOST": "127.0.0.1",
        "VERIFIER_PORT": str(verifier_port),
        "APPLICATION_HOST": "127.0.0.1",
        "APPLICATION_PORT": str(application_port),
        "CHECK_PORT": str(free_port()),
    }
    if name in COMPLETE or name == EXTERNAL:
        gateway_config.write(name, folder, addresses)
    else:
        ports = {443: port, 8000: issuer_port or 0, 8001: verifier_port, 8090: application_port}
        write_site(name, folder, ports)
    for file, old, new in changes:
        text = (folder / file).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {file}"
        (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    prepare(folder)
    log = folder / f"{name.replace('/', '-')}.log"
    # Caddy keeps house in its user's data folder otherwise.
    environ = {**addresses, "XDG_DATA_HOME": str(folder)}
    with (
        running(PROGRAMS[name].command(folder), log, environ, lambda: listens(port)),
        tls_bridge(port, folder) if PROGRAMS[name].tls else nullcontext(port) as plain,
    ):
        # Some listen before they have read their routes.
        wait_until(lambda: ask(plain).status != HTTPStatus.NOT_FOUND, f"{name} decides")
        yield plain
