"""Every command of a guide, run in order on real programs, prints what the guide shows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.guides import GUIDES, Reader
from tests.support.issuer_process import running_issuer
from tests.support.node import install_express
from tests.support.postgres import Postgres, execute, running_postgres
from tests.support.processes import free_port
from tests.support.programs import program


def text(name: str) -> str:
    """Return a guide."""
    return (GUIDES / name).read_text(encoding="utf-8")


NGINX: Final = text("nginx-fastapi.md")
CERTIFICATE: Final = NGINX.partition("### A certificate")[2].partition("### The site")[0]


def steps(first: int, last: int) -> str:
    """Return these steps of the nginx guide."""
    found = re.search(rf"^## {first}\..*?(?=^## {last + 1}\.)", NGINX, re.DOTALL | re.MULTILINE)
    assert found
    return found[0]


def application(name: str) -> str:
    """Return the application of a framework or language."""
    _, heading, rest = text("applications.md").partition(f"\n## {name}\n")
    assert heading
    return rest.partition("\n## ")[0]


BROWSER: Final = re.split(r"Then follow \[step 3\]|Make \[a certificate\]", text("browser-application.md"))
"""The guide refers to the nginx guide in two places."""

# The texts that a reader of each guide follows, in order.
READ: Final[dict[str, list[str]]] = {
    "nginx-fastapi": [NGINX],
    "browser-application": [steps(1, 2), BROWSER[0], steps(3, 3), BROWSER[1], CERTIFICATE, BROWSER[2]],
    **{name: [steps(1, 3), application(name), steps(5, 7)] for name in ("Express", "Django", "Go")},
    **{
        name: [steps(1, 4), CERTIFICATE, text(f"{name}.md"), steps(6, 7)]
        for name in ("caddy", "haproxy", "traefik", "envoy")
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def database(server: Postgres) -> Iterator[Postgres]:
    """Yield the server, without the database that the guide creates."""
    yield server
    roles = [row["rolname"] for row in execute(server.url(), "SELECT rolname FROM pg_roles WHERE oid > 16383")]
    for statement in ("DROP DATABASE gatepass WITH (FORCE)", *(f'DROP ROLE "{role}"' for role in roles)):
        execute(server.url(), statement)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", READ)
def test_a_guide_works_as_it_is_written(name: str, tmp_path: Path, database: Postgres) -> None:
    program("curl")
    program("openssl")
    if name == "Express":
        install_express(tmp_path)
    if name == "Go":
        program("go", "golang-go")
    Reader(tmp_path, database).follow(*READ[name])


@pytest.mark.timeout(240)
def test_an_application_without_a_gateway_works_as_it_is_written(tmp_path: Path, server: Postgres) -> None:
    server.make_template()
    with running_issuer(server.migrated_database()) as issuer:
        ports = {8000: issuer.port, 8090: free_port()}
        Reader(tmp_path, ports={**Reader(tmp_path).ports, **ports}).follow(text("without-a-gateway.md"))
