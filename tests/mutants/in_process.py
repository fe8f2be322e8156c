"""A pytest plugin: issuers and commands of the tests run in this process, so that mutmut can trace them.

To save time, all runs of a package share one PostgreSQL, private keys are created once, and passwords are hashed with
little memory. Tests that read the output of an issuer, end its process or stop PostgreSQL cannot run so.
"""

import asyncio
import contextlib
import gc
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import cycle
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any, Final
from unittest.mock import patch

import pytest
from _pytest import unraisableexception
from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: TID251 - opens keys once
from mutmut.state import state

from issuer import app
from issuer.__main__ import main
from issuer.keys import manager as key_management
from issuer.keys import store as key_files
from issuer.passwords.hasher import ARGON2_COSTS
from issuer.settings import IssuerSettings
from issuer.telemetry.tracing import UNTRACED
from tests.mutants import POSTGRES
from tests.support import forks, issuer_process, postgres
from tests.support.accounts import CHEAP_HASHES
from tests.support.postgres import Postgres, attached_postgres, execute
from tests.support.services import environment

_KEYS: Final = cycle([key_files.new_private() for _ in range(12)])
"""More keys than a test creates in one key directory."""

_starting: Final[list[set[str]]] = []
"""Functions that each issuer executed while it started. One issuer serves many tests."""


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose signals come from the test, since threads get none."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers: dict[int, Callable[..., object]] = {}

    def add_signal_handler(  # type: ignore[override] # typeshed ties the arguments to the callback
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        del args
        self.handlers[sig] = callback


class _Served:
    """An issuer in a thread, with the attributes of a process that tests use."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._loop = _Loop()
        self._settings = IssuerSettings.from_environment(environ)
        self._seen = set(state()._stats)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.returncode: int | None = None

    def started(self) -> set[str]:
        """Return the functions that it has executed."""
        return state()._stats - self._seen

    def poll(self) -> int | None:
        """Return 0 when it has ended, else None."""
        return None if self._thread.is_alive() else 0

    def send_signal(self, number: int) -> None:
        """Handle a signal."""
        self._loop.call_soon_threadsafe(self._loop.handlers[number])

    def wait(self, timeout: float) -> int:
        """Wait until it has ended."""
        self._thread.join(timeout)
        assert not self._thread.is_alive()
        self._loop.close()
        return 0

    def _serve(self) -> None:
        self._loop.run_until_complete(app.serve(self._settings, UNTRACED))


def _start(
    program: str, arguments: Sequence[str], environ: Mapping[str, str], output: IO[bytes]
) -> _Served | forks.Fork:
    """Do what `forks.start` does."""
    return _Served(environ) if program == "issuer" else _fork(program, arguments, environ, output)


def _issuer_command(*arguments: str, stdin: str = "", **settings: str) -> CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment("issuer", settings), clear=True),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode(errors="surrogateescape")))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
    return CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


@contextmanager
def _shared_postgres() -> Iterator[Postgres]:
    """Use the shared PostgreSQL, and delete the databases of the tests."""
    server = attached_postgres(Path(os.environ[POSTGRES]))
    try:
        yield server
    finally:
        for row in execute(server.url(), r"SELECT datname FROM pg_database WHERE datname LIKE 't\_%'"):
            execute(server.url(), f"DROP DATABASE {row['datname']} WITH (FORCE)")


_fork: Final = forks.start
_wait_for_readiness: Final = issuer_process.IssuerProcess.wait_until_readiness_is


def _wait_until_readiness_is(issuer: issuer_process.IssuerProcess, status: int) -> None:
    _wait_for_readiness(issuer, status)
    served: Any = issuer.process
    if hasattr(served, "started"):
        _starting.append(served.started())


def pytest_collection_finish() -> None:
    """Exclude existing objects from garbage collection, which would copy the memory that is shared with mutmut."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Run tests without a database first, and then module by module, since each change of module starts an issuer.

    mutmut sorts all tests by their duration.
    """
    modules = list(dict.fromkeys(item.path for item in items))
    items.sort(key=lambda item: ("postgres" in item.fixturenames, modules.index(item.path)))


@pytest.fixture(autouse=True)
def _executed_by_fixtures(request: pytest.FixtureRequest) -> None:
    """Add to each test the functions that the start of its issuer executed."""
    if "postgres" in request.fixturenames:
        state()._stats.update(*_starting)


for module, name, replacement in (
    (unraisableexception, "gc_collect_harder", lambda _: None),
    (forks, "start", _start),
    (issuer_process, "issuer_command", _issuer_command),
    (postgres, "running_postgres", _shared_postgres),
    (Postgres, "make_template", lambda _: None),
    (issuer_process.IssuerProcess, "wait_until_readiness_is", _wait_until_readiness_is),
    (key_management, "new_private", lambda: next(_KEYS)),
    (key_files, "load_pem_private_key", cache(load_pem_private_key)),
    (app, "ARGON2_COSTS", dict.fromkeys(ARGON2_COSTS, CHEAP_HASHES)),
):
    setattr(module, name, replacement)
