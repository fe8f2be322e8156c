"""The one-machine stack with a thousand accounts and a client, and the naive application on the same PostgreSQL.

No process is pinned to a core: servers and load share all cores.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from loadtests import testbed
from loadtests.bench.processes import ProcessError
from loadtests.bench_issuer.naive_server import Server, running_naive_application

ACCOUNTS: Final = 1000
PASSWORD: Final = "seven quiet green rivers"  # noqa: S105 - of accounts that exist for minutes
# No mail, which the naive application does not have either; and each connection is a client without a proxy.
_SETTINGS: Final = {"ISSUER_MAIL_URL": "", "ISSUER_TRUSTED_PROXY_HOPS": "0"}


@dataclass(frozen=True, slots=True)
class Site:
    """A running issuer, its verifier and its database, and the naive application beside them."""

    port: int
    verifier_port: int
    database_url: str
    pid: int
    ours: Server
    naive: Server
    stack: testbed.Testbed

    def resident_bytes(self) -> int:
        """Return the resident memory of the issuer."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


@contextmanager
def running_testbed() -> Iterator[Site]:
    """Start everything, import the accounts, and stop it at the end of the block.

    Raises:
        ProcessError: something did not start; with the end of its log.
    """
    with (
        tempfile.TemporaryDirectory(prefix="gatepass-bench-") as folder,
        testbed.running_testbed(Path(folder), _SETTINGS) as stack,
    ):
        stack.import_accounts(range(ACCOUNTS), PASSWORD)
        client = json.loads(
            stack.run_issuer("clients", "create", "machine", "--id", "machine", "--scope", "read", "--json")
        )
        database_url, pid = stack.database_url, _issuer_pid(stack.process.pid)
        port, verifier_port = stack.ports["ISSUER_PORT"], stack.ports["VERIFIER_PORT"]
        with running_naive_application(database_url, Path(folder, "naive.log")) as naive:
            yield Site(
                port,
                verifier_port,
                database_url,
                pid,
                Server(port, pid, client["id"], client["secret"]),
                naive,
                stack,
            )


def _issuer_pid(stack_pid: int) -> int:
    for process in psutil.Process(stack_pid).children(recursive=True):
        if process.cmdline()[1:4] == ["-m", "issuer", "serve"]:
            return process.pid
    raise ProcessError("the stack has no issuer")
