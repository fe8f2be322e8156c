"""Starts the servers of a contender on free loopback ports; checks that it verifies tokens."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from loadtests.bench.contenders import Contender, Server
from loadtests.bench.fixtures import Fixtures
from loadtests.processes import InvalidRunError, Running, cpu_seconds, free_ports, running

CONFIGURATIONS: Final = Path(__file__).with_name("configurations")
START_SECONDS: Final = 15.0
_ALLOWED: Final = frozenset({200, 202, 204})
_REJECTED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Setup:
    """All that servers need: a directory for their files, the fixtures, paths of programs by name, and the core."""

    directory: Path
    fixtures: Fixtures
    tools: Mapping[str, str]
    core: int


@dataclass(frozen=True, slots=True)
class Served:
    """A running contender: the port that it serves, and its processes."""

    port: int
    processes: tuple[Running, ...]

    def cpu_seconds(self) -> float:
        """Return the processor time that all of its processes have used so far."""
        return sum(cpu_seconds(process.pid) for process in self.processes)


@contextmanager
def serving(contender: Contender, setup: Setup) -> Iterator[Served]:
    """Run `contender` until the block ends; before and after it, its decisions must be right."""
    with started(contender, setup) as served:
        fixtures = setup.fixtures
        check(contender, served.port, fixtures, valid=fixtures.valid)
        yield served
        # Once more after the load: a server must not decide differently under it.
        check(contender, served.port, fixtures, valid=fixtures.valid[:1])


@contextmanager
def started(contender: Contender, setup: Setup) -> Iterator[Served]:
    """Run the processes of `contender` until the block ends; its decisions are not tested.

    Raises:
        ProcessError: a server ended, or did not respond in time.
    """
    port, processes = 0, []
    with ExitStack() as stack:
        for index, server in enumerate(contender.servers):
            directory = setup.directory / f"{contender.name}-{index}"
            port, process = _start(stack, server, directory, setup, contender.path, upstream_port=port)
            processes.append(process)
        yield Served(port, tuple(processes))


def check(contender: Contender, port: int, fixtures: Fixtures, *, valid: tuple[str, ...]) -> None:
    """Send every token of `valid` and, if the contender verifies, the invalid ones that it can reject.

    Raises:
        InvalidRunError: one of the responses was wrong.
    """
    expected: list[tuple[str, str | None, frozenset[int]]] = [("a valid token", token, _ALLOWED) for token in valid]
    if contender.verifies:
        invalid = {**fixtures.invalid, **(fixtures.invalid_for_hardened if contender.hardened else {})}
        faults = [(fault, token) for fault, token in invalid.items() if fault not in contender.cannot_reject]
        expected += [(what, token, _REJECTED) for what, token in [("no token", None), *faults]]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        for what, token, statuses in expected:
            try:
                status = _send(connection, token, contender.path)
            except (OSError, http.client.HTTPException) as error:
                raise InvalidRunError(f"{contender.name}: no response ({type(error).__name__})") from error
            if status not in statuses:
                raise InvalidRunError(f"{contender.name} responded {status} to {what}")


def _start(
    stack: ExitStack, server: Server, directory: Path, setup: Setup, path: str, *, upstream_port: int
) -> tuple[int, Running]:
    directory.mkdir(parents=True, exist_ok=True)
    port, admin_port, spare_port = free_ports(3)
    values = {
        **setup.tools,
        "port": str(port),
        "admin_port": str(admin_port),
        "spare_port": str(spare_port),
        "upstream_path": path,
        "upstream_port": str(upstream_port),
        "directory": str(directory),
        "configurations": str(CONFIGURATIONS),
        "config": str(directory / server.template),
        "issuer": setup.fixtures.issuer,
        "audience": setup.fixtures.audience,
        "max_lifetime": str(setup.fixtures.max_lifetime),
        "fixtures": str(setup.fixtures.jwks.parent),
        "jwks": str(setup.fixtures.jwks),
        "public_key": str(setup.fixtures.public_key),
        **server.values,
    }
    if server.template:
        text = Template((CONFIGURATIONS / server.template).read_text()).substitute(values)
        (directory / server.template).write_text(text)
    command = [Template(argument).substitute(values) for argument in server.command]
    environment = {name: Template(value).substitute(values) for name, value in server.environment.items()}
    log = setup.directory / f"{directory.name}.log"
    process = stack.enter_context(running(command, core=setup.core, environment=environment, log=log))
    process.wait_until(lambda: _has_keys(port, path), START_SECONDS)
    return port, process


def _has_keys(port: int, path: str) -> bool:
    """Return whether a request without a token gets a response other than 5xx: the keys are loaded then."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=1)) as connection:
        try:
            return _send(connection, None, path) < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except http.client.HTTPException:
            return False


def _send(connection: http.client.HTTPConnection, token: str | None, path: str) -> int:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    response.read()
    return response.status
