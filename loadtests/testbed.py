"""The one-machine stack for a load run, with ports and a state folder of its own that are removed afterwards."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests import seed
from loadtests.bench.processes import ROOT, ProcessError, Running, free_ports, running

_PORTS: Final = ("GATEWAY_PORT", "ISSUER_PORT", "ISSUER_ADMIN_PORT", "VERIFIER_PORT", "VERIFIER_ADMIN_PORT")
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 600.0
_READY: Final = "gatepass: ready: "

# Locust acts as the one proxy in front and gives each of its users a client IP of its own, so that the rate limits
# stay at their defaults.
SETTINGS: Final = {"ISSUER_TRUSTED_PROXY_HOPS": "1"}
# The shortest cache time of a key set, so that a new key signs two minutes after its publication.
ROTATION_SETTINGS: Final = {"ISSUER_JWKS_MAX_AGE_SECONDS": "10"}


@dataclass(frozen=True, slots=True)
class Testbed:
    """A running stack. `ports` are those of its settings, by name."""

    process: Running
    home: Path
    ports: Mapping[str, int]

    def url(self, port: str) -> str:
        """Return the base URL of `GATEWAY_PORT` or another port."""
        return f"http://127.0.0.1:{self.ports[port]}"

    @property
    def database_url(self) -> str:
        """Return the connection URL that the stack wrote for the issuer.

        Raises:
            ProcessError: it wrote none.
        """
        settings = (self.home / "issuer.env").read_text(encoding="utf-8")
        found = re.search(r"^export ISSUER_DATABASE_URL=(.*)$", settings, re.MULTILINE)
        if found is None:
            raise ProcessError("issuer.env has no ISSUER_DATABASE_URL")
        return shlex.split(found[1])[0]

    def import_accounts(self, numbers: Iterable[int], password: str) -> None:
        """Import the seeded accounts with these numbers.

        Raises:
            ProcessError: some lines were rejected.
        """
        file = self.home / "accounts.jsonl"
        seed.write_accounts(numbers, password, file)
        self.run_issuer("users", "import", str(file))

    def rotate_key(self) -> None:
        """Publish the next signing key; the issuer begins to sign with it when every verifier has fetched it.

        Raises:
            ProcessError: the key could not be made.
        """
        self.run_issuer("keys", "rotate")

    def run_issuer(self, *arguments: str) -> str:
        """Run a command of the issuer with the settings that the stack wrote for it; return its output.

        Raises:
            ProcessError: it failed.
        """
        script = '. "$1" && shift && exec "$@"'
        shell = ["sh", "-c", script, "sh", str(self.home / "issuer.env")]
        finished = subprocess.run(  # noqa: S603 - the command is written here
            [*shell, sys.executable, "-m", "issuer", *arguments],
            cwd=ROOT,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if finished.returncode:
            command = " ".join(arguments[:2])
            raise ProcessError(f"issuer {command} ended with {finished.returncode}: {finished.stderr}")
        return finished.stdout


@contextmanager
def running_testbed(out: Path, more: Mapping[str, str] | None = None) -> Iterator[Testbed]:
    """Run a stack with `more` settings below `out` until the block ends. Its logs stay in `out/logs`.

    Raises:
        ProcessError: it did not start; with the end of its log.
    """
    home = Path(tempfile.mkdtemp(prefix="stack-", dir=out))
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    settings = SETTINGS | dict(more or {})
    settings |= {"GATEPASS_HOME": str(home), **{name: str(port) for name, port in ports.items()}}
    log = out / "stack.log"
    command = [sys.executable, "-m", "stack"]
    environment = clean_environment(settings)
    try:
        with running(command, cores=None, environment=environment, log=log, stop_seconds=_STOP_SECONDS) as process:
            _wait_until_ready(process, log)
            yield Testbed(process, home, ports)
    finally:
        shutil.rmtree(out / "logs", ignore_errors=True)
        if (home / "logs").is_dir():
            shutil.copytree(home / "logs", out / "logs")
        shutil.rmtree(home, ignore_errors=True)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment without settings of another stack, of locust or of a proxy."""
    foreign = ("ISSUER_", "VERIFIER_", "LOCUST_", "GATEPASS_", "GATEWAY_", "APPLICATION_")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(foreign) and not name.lower().endswith("_proxy")
    }
    return inherited | dict(more or {})


def _wait_until_ready(process: Running, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while _READY not in log.read_text(encoding="utf-8", errors="replace"):
        process.ensure_alive()
        if time.monotonic() > deadline:
            raise ProcessError(f"the stack is not ready after {_START_SECONDS:.0f} s: see {log}")
        time.sleep(0.1)
