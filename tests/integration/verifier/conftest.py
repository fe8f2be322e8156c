"""Fixtures: a verifier that the tests of a module share, and folders for tests that start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.listening_server import running_listener
from tests.support.verifier_process import SubrequestListener, VerifierFolder, VerifierProcess

POLICIES = """\
[policies.default]
[policies.admin]
scopes_all = ["admin"]
[policies.reader]
scopes_any = ["read", "write"]
[policies.operator]
roles_any = ["operator", "owner"]
[policies.open]
anonymous = true
"""


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Return the event loop of the verifier."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def verifier() -> Iterator[SubrequestListener]:
    with running_listener(POLICIES) as listener:
        yield listener


@pytest.fixture
def folder(tmp_path: Path) -> VerifierFolder:
    return VerifierFolder(tmp_path)


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VerifierProcess]:
    """Yield a verifier whose policy file the tests of a module change."""
    with VerifierFolder(tmp_path_factory.mktemp("reloading")).running(policies="[policies.gate]") as process:
        yield process
