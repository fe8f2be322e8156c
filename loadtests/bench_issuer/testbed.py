"""The one-machine stack with a thousand accounts and a client, and the naive application on the same PostgreSQL.

No process is pinned to a core: servers and load share all cores.
"""

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from socket import create_connection
from typing import Final

import asyncpg  # noqa: TID251 - fills the naive application's tables
import psutil

from loadtests import testbed
from loadtests.processes import ProcessError, free_ports, running

ACCOUNTS: Final = 1000
PASSWORD: Final = "seven quiet green rivers"  # noqa: S105 - of accounts that exist for minutes
# No mail, which the naive application does not have either; and each connection is a client without a proxy.
_SETTINGS: Final = {"ISSUER_MAIL_URL": "", "ISSUER_TRUSTED_PROXY_HOPS": "0"}
_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test.

    Attributes:
        port: where it listens.
        pid: of its process.
        client_id: of a client that it knows.
        client_secret: of that client.
    """

    port: int
    pid: int
    client_id: str
    client_secret: str = field(repr=False)

    def resident_bytes(self) -> int:
        """Return the resident memory of its process."""
        return psutil.Process(self.pid).memory_info().rss


@dataclass(frozen=True, slots=True)
class IssuerTestbed:
    """A running stack with its issuer, and the naive application beside it."""

    stack: testbed.Testbed
    database_url: str
    ours: Server
    naive: Server


@contextmanager
def running_testbed() -> Iterator[IssuerTestbed]:
    """Start everything, import the accounts, and stop it at the end of the block."""
    with (
        tempfile.TemporaryDirectory(prefix="gatepass-bench-") as folder,
        testbed.running_testbed(Path(folder), _SETTINGS) as stack,
    ):
        stack.import_accounts(range(ACCOUNTS), PASSWORD)
        create = ("clients", "create", "machine", "--id", "machine", "--scope", "read", "--json")
        client = json.loads(stack.run_issuer(*create))
        ours = Server(stack.ports["ISSUER_PORT"], _issuer_pid(stack.process.pid), client["id"], client["secret"])
        database_url = stack.issuer_settings["ISSUER_DATABASE_URL"]
        with _running_naive_application(database_url, Path(folder, "naive.log")) as naive:
            yield IssuerTestbed(stack, database_url, ours, naive)


def _issuer_pid(stack_pid: int) -> int:
    for process in psutil.Process(stack_pid).children(recursive=True):
        if process.cmdline()[1:4] == ["-m", "issuer", "serve"]:
            return process.pid
    raise ProcessError("the stack has no issuer")


@contextmanager
def _running_naive_application(database_url: str, log: Path) -> Iterator[Server]:
    secret = secrets.token_urlsafe(32)
    asyncio.run(_fill(database_url, secret))
    (port,) = free_ports(1)
    options = ("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--port", str(port))
    environment = {"BENCHMARK_DATABASE_URL": database_url, "BENCHMARK_ISSUER": f"http://127.0.0.1:{port}"}
    with running(
        [sys.executable, "-m", "uvicorn", *options, "loadtests.bench_issuer.naive_app:app"],
        environment=testbed.clean_environment(environment),
        log=log,
    ) as process:
        process.wait_until(lambda: _listens(port), _START_SECONDS)
        yield Server(port, process.pid, "machine", secret)


def _listens(port: int) -> bool:
    create_connection(("127.0.0.1", port), 1).close()
    return True


async def _fill(database_url: str, secret: str) -> None:
    """Give the naive application the issuer's accounts and one client."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(Path(__file__).with_name("naive_app.sql").read_text(encoding="utf-8"))
        await connection.execute(
            "INSERT INTO naive.accounts (email, password_hash) SELECT email, password_hash FROM users"
        )
        await connection.execute(
            "INSERT INTO naive.clients VALUES ('machine', $1, 'read')", sha256(secret.encode()).digest()
        )
    finally:
        await connection.close()
