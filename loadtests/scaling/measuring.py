"""Starts an arrangement, has it prove that it decides, loads it from all cores and counts what it worked."""

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from string import Template
from typing import Final

from loadtests.benchmark import wrk
from loadtests.benchmark.contenders import Contender
from loadtests.benchmark.material import AUDIENCE, ISSUER, Material
from loadtests.benchmark.processes import Running, running
from loadtests.benchmark.rounds import ensure_clean
from loadtests.benchmark.servers import CONFIGURATIONS, START_SECONDS, VoidRunError, check
from loadtests.benchmark.wrk import Load
from loadtests.scaling.arrangements import Arrangement

CONNECTIONS: Final = 64
WARM_UP_SECONDS: Final = 1
_NGINX_CONF: Final = Path(__file__).with_name("nginx.conf")
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        rate: answers per second.
        cores: cores that the verifiers kept busy, on average over the measurement.
        per_core: answers for each second of a core that they worked.
        least_share: the part of the work of the verifier that worked least, where 1 is an equal part.
        p99_ms: of the answers, while everything is driven as fast as it goes.
    """

    rate: float
    cores: float
    per_core: float
    least_share: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Site:
    """Where servers run: their files, the tokens, the programs by name."""

    directory: Path
    material: Material
    programs: Mapping[str, str]


def measure(arrangement: Arrangement, site: Site, seconds: int) -> Sample:
    """Load `arrangement` for `seconds`.

    Raises:
        ProcessError, WrkOutputError: a server or wrk failed.
        VoidRunError: an answer was wrong or missing.
    """
    with _serving(arrangement, site) as (port, verifiers):

        def send(length: int) -> wrk.Measurement:
            measured = wrk.send(
                Load(CONNECTIONS), port=port, tokens=site.material.tokens, cores=_cores(), seconds=length
            )
            ensure_clean(measured, arrangement.name)
            return measured

        send(WARM_UP_SECONDS)
        before, began = [one.cpu_seconds for one in verifiers], time.monotonic()
        measured = send(seconds)
        lasted = time.monotonic() - began
        worked = [one.cpu_seconds - then for one, then in zip(verifiers, before, strict=True)]
        return Sample(
            rate=measured.requests_per_second,
            cores=sum(worked) / lasted,
            per_core=measured.requests / sum(worked),
            least_share=min(worked) / sum(worked) * len(worked),
            p99_ms=measured.p99_ms,
        )


@contextmanager
def _serving(arrangement: Arrangement, site: Site) -> Iterator[tuple[int, list[Running]]]:
    ports = _free_ports(2 * arrangement.verifiers + 1)
    with ExitStack() as stack:
        verifiers: list[Running] = []
        for index in range(arrangement.verifiers):
            port, admin_port = ports[2 * index : 2 * index + 2]
            verifiers.append(_verifier(stack, arrangement, site, index, port, admin_port))
            _wait_until_ready(verifiers[-1], admin_port)
        entry = ports[-1] if arrangement.gateway else ports[0]
        if arrangement.gateway:
            _gateway(stack, site, entry, ports[0:-1:2])
        check(Contender(arrangement.name, arrangement.name, ()), entry, site.material, good=site.material.good)
        yield entry, verifiers


def _verifier(
    stack: ExitStack, arrangement: Arrangement, site: Site, index: int, port: int, admin_port: int
) -> Running:
    environment = {
        "VERIFIER_PORT": str(port),
        "VERIFIER_ADMIN_PORT": str(admin_port),
        "VERIFIER_ISSUER": ISSUER,
        "VERIFIER_AUDIENCE": AUDIENCE,
        "VERIFIER_JWKS_FILE": str(site.material.jwks),
        "VERIFIER_LOG_LEVEL": "warning",
        "VERIFIER_WORKERS": str(arrangement.workers),
        **({} if arrangement.cached else {"VERIFIER_CACHE_ENTRIES": "0"}),
    }
    command = [site.programs["python"], "-m", "verifier"]
    log = site.directory / f"verifier-{index}.log"
    return stack.enter_context(running(command, cores=_cores(), environment=environment, log=log))


def _gateway(stack: ExitStack, site: Site, port: int, verifiers: Sequence[int]) -> None:
    folder = site.directory / "nginx"
    folder.mkdir(exist_ok=True)
    text = Template(_NGINX_CONF.read_text(encoding="utf-8")).substitute(
        configurations=CONFIGURATIONS,
        port=port,
        verifiers=" ".join(f"server 127.0.0.1:{one};" for one in verifiers),
    )
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    command = [site.programs["nginx"], "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = stack.enter_context(running(command, cores=_cores(), environment={}, log=site.directory / "nginx.log"))
    _wait_until(lambda: _status(port, "/") is not None, process, "nginx")


def _wait_until_ready(process: Running, admin_port: int) -> None:
    _wait_until(lambda: _status(admin_port, "/readyz") == http.HTTPStatus.OK, process, "a verifier")


def _wait_until(happened: Callable[[], bool], process: Running, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not happened():
        process.ensure_alive()
        if time.monotonic() > deadline:
            raise VoidRunError(f"{what} did not answer within {START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _cores() -> list[int]:
    """All that we may use: who needs one gets one."""
    return sorted(os.sched_getaffinity(0))


def _free_ports(count: int) -> list[int]:
    """All open at once, or the system might offer one of them twice."""
    with ExitStack() as taken:
        servers = [taken.enter_context(create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]
