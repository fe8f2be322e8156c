"""Runs the naive application on the issuer's PostgreSQL, with the issuer's accounts and one client."""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from socket import create_connection
from typing import Final

import asyncpg  # noqa: TID251 - an application of its own

from loadtests.bench.processes import ProcessError, Running, free_ports, running

SCHEMA: Final = Path(__file__).with_name("naive_app.sql")
_START_SECONDS: Final = 30.0
_APPLICATION: Final = "loadtests.bench_issuer.naive_app:app"


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


@contextmanager
def running_naive_application(database_url: str, log: Path) -> Iterator[Server]:
    """Serve until the end of the block.

    Raises:
        ProcessError: it did not start.
    """
    secret = secrets.token_urlsafe(32)
    asyncio.run(_fill(database_url, secret))
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "--http", "httptools", "--loop", "uvloop", "--no-access-log"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ISSUER_", "VERIFIER_"))
    } | {"BENCHMARK_DATABASE_URL": database_url, "BENCHMARK_ISSUER": f"http://127.0.0.1:{port}"}
    with running(
        [*command, "--port", str(port), _APPLICATION], cores=None, environment=environment, log=log
    ) as process:
        _wait_for(port, process)
        yield Server(port, process.pid, "machine", secret)


async def _fill(database_url: str, secret: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(SCHEMA.read_text(encoding="utf-8"))
        await connection.execute(
            "INSERT INTO naive.accounts (email, password_hash) SELECT email, password_hash FROM users"
        )
        await connection.execute(
            "INSERT INTO naive.clients VALUES ('machine', $1, 'read')", sha256(secret.encode()).digest()
        )
    finally:
        await connection.close()


def _wait_for(port: int, process: Running) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        process.ensure_alive()
        try:
            create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ProcessError("the naive application did not start")
