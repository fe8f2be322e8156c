"""One verifier and one application, behind each gateway in turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

import pytest

from tests.support.gateway_programs import Difference, differs
from tests.support.gateways import GATEWAYS, Response, Verifier, ask, running_application, running_gateway
from tests.support.token_forge import Forge


@dataclass(frozen=True)
class Gateway:
    """A gateway under test and the key that its verifier trusts."""

    name: str
    port: int
    verifier: Verifier

    @property
    def forge(self) -> Forge:
        return self.verifier.forge

    @property
    def now(self) -> float:
        return time()

    def token(self, **changes: Any) -> bytes:
        return self.forge.token(time(), **changes)

    def differs(self, difference: Difference) -> bool:
        return differs(self.name, difference)

    def ask(self, path: str = "/", *lines: str, **request: Any) -> Response:
        return ask(self.port, path, *lines, **request)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateways")


@pytest.fixture(scope="session")
def verifier(folder: Path) -> Iterator[Verifier]:
    verifier = Verifier(folder)
    with verifier.running():
        yield verifier


@pytest.fixture(scope="session")
def application(folder: Path) -> Iterator[int]:
    with running_application(folder) as port:
        yield port


@pytest.fixture(scope="session", params=GATEWAYS)
def gateway(request: pytest.FixtureRequest, folder: Path, verifier: Verifier, application: int) -> Iterator[Gateway]:
    with running_gateway(request.param, folder, verifier.port, application) as port:
        yield Gateway(request.param, port, verifier)
