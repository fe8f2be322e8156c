"""Starts the servers of a contender on free loopback ports; has it prove that it verifies."""

import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from loadtests.benchmark.contenders import Contender, Server
from loadtests.benchmark.material import AUDIENCE, ISSUER, Material
from loadtests.benchmark.processes import Running, running

CONFIGURATIONS: Final = Path(__file__).with_name("configurations")
START_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.02
_ALLOWED: Final = frozenset({200, 204})
_REFUSED: Final = frozenset({401, 403})


class VoidRunError(Exception):
    """Something was measured that is not what the report would claim. Nothing is reported."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where servers run: their files, the material, the programs by name, and the core."""

    directory: Path
    material: Material
    programs: Mapping[str, str]
    core: int


@contextmanager
def serving(contender: Contender, site: Site) -> Iterator[int]:
    """The port at which `contender` answers, having accepted all good tokens and refused all bad ones.

    Raises:
        ProcessError: a server ended.
        VoidRunError: it did not answer in time, or decided wrongly, before the block or after it.
    """
    port = 0
    with ExitStack() as stack:
        for index, server in enumerate(contender.servers):
            directory = site.directory / f"{contender.name}-{index}"
            port = _start(stack, server, directory, site, upstream_port=port)
        check(contender, port, site.material, good=site.material.good)
        yield port
        # Once more after the load: a server must not have opened, or closed, under it.
        check(contender, port, site.material, good=site.material.good[:1])


def check(contender: Contender, port: int, material: Material, *, good: tuple[str, ...]) -> None:
    """Send every token of `good`, and the bad ones if the contender verifies.

    Raises:
        VoidRunError: one of the answers was wrong.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        for token in good:
            _expect(_ALLOWED, _ask(connection, token), contender, "a good token")
        if contender.verifies:
            _expect(_REFUSED, _ask(connection, None), contender, "no token")
            for fault, token in material.bad.items():
                _expect(_REFUSED, _ask(connection, token), contender, fault)
    except (OSError, http.client.HTTPException) as error:
        raise VoidRunError(f"{contender.name}: no answer ({type(error).__name__})") from error
    finally:
        connection.close()


def _start(stack: ExitStack, server: Server, directory: Path, site: Site, *, upstream_port: int) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    port, admin_port = _free_ports()
    values = {
        **site.programs,
        "port": str(port),
        "admin_port": str(admin_port),
        "upstream_port": str(upstream_port),
        "directory": str(directory),
        "configurations": str(CONFIGURATIONS),
        "config": str(directory / server.template),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "jwks": str(site.material.jwks),
        "public_key": str(site.material.public_key),
        **server.values,
    }
    if server.template:
        text = Template((CONFIGURATIONS / server.template).read_text()).substitute(values)
        (directory / server.template).write_text(text)
    command = [Template(argument).substitute(values) for argument in server.command]
    environment = {name: Template(value).substitute(values) for name, value in server.environment.items()}
    log = site.directory / f"{directory.name}.log"
    process = stack.enter_context(running(command, cores=[site.core], environment=environment, log=log))
    _wait_until_ready(process, port, log)
    return port


def _wait_until_ready(process: Running, port: int, log: Path) -> None:
    """Ready is an answer to a request without a token that is not 5xx: keys are loaded then."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        process.ensure_alive()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            if _ask(connection, None) < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(_POLL_SECONDS)
    raise VoidRunError(f"{log.stem} did not answer within {START_SECONDS:.0f} s; see {log}")


def _ask(connection: http.client.HTTPConnection, token: str | None) -> int:
    connection.request("GET", "/verify", headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    response.read()
    return response.status


def _expect(allowed: frozenset[int], status: int, contender: Contender, what: str) -> None:
    if status not in allowed:
        raise VoidRunError(f"{contender.name} answered {status} to {what}")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
