"""The one-machine stack of a load run, with a state folder and ports of its own that go with the run."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Final

from loadtests.benchmark.processes import ROOT, ProcessError, Running, running

_PORTS: Final = ("GATEWAY_PORT", "ISSUER_PORT", "ISSUER_ADMIN_PORT", "VERIFIER_PORT", "VERIFIER_ADMIN_PORT")
_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 600.0
_READY: Final = "gatepass: ready: "

SETTINGS: Final = {
    # Locust is the one proxy in front: it gives each of its users an address of its own (RFC 2544 §C.2.2), so
    # that the limits for one client address stay as they come.
    "ISSUER_TRUSTED_HOPS": "1",
}
ROTATION_SETTINGS: Final = {"ISSUER_JWKS_MAX_AGE_SECONDS": "10"}
"""The shortest, so that a key that was made signs two minutes later."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running stack."""

    process: Running
    home: Path
    host: str
    issuer: str

    def seed(self, people: Path) -> None:
        """Import accounts.

        Raises:
            ProcessError: some could not be.
        """
        self._command("users", "import", str(people))

    def rotate(self) -> None:
        """Publish the next signing key; the issuer lets it sign when every verifier has seen it.

        Raises:
            ProcessError: it could not be made.
        """
        self._command("keys", "rotate")

    def _command(self, *arguments: str) -> None:
        """One of the issuer's, with the settings that the stack wrote down for it."""
        script = '. "$1" && shift && exec "$@"'
        command = [
            "sh",
            "-c",
            script,
            "sh",
            str(self.home / "issuer.env"),
            sys.executable,
            "-m",
            "issuer",
            *arguments,
        ]
        finished = subprocess.run(  # noqa: S603 - written here
            command,
            cwd=ROOT,
            env=_environment({}),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        if finished.returncode:
            raise ProcessError(
                f"issuer {' '.join(arguments[:2])} ended with {finished.returncode}: {finished.stderr}"
            )


@contextmanager
def running_site(out: Path, *, rotates: bool) -> Iterator[Site]:
    """A stack below `out`, from when it is ready to the end of the block. Its logs stay in `out/logs`.

    Raises:
        ProcessError: it did not start; with its last words.
    """
    home = Path(tempfile.mkdtemp(prefix="stack-", dir=out))
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    settings = SETTINGS | (ROTATION_SETTINGS if rotates else {})
    environment = _environment({"GATEPASS_HOME": str(home), **{name: str(port) for name, port in ports.items()}})
    log = out / "stack.log"
    command = [sys.executable, "-m", "stack"]
    try:
        with running(
            command, cores=None, environment=environment | settings, log=log, stop_seconds=_STOP_SECONDS
        ) as process:
            _wait_until_ready(process, log)
            urls = (f"http://127.0.0.1:{ports[name]}" for name in ("GATEWAY_PORT", "ISSUER_PORT"))
            yield Site(process, home, *urls)
    finally:
        shutil.rmtree(out / "logs", ignore_errors=True)
        if (home / "logs").is_dir():
            shutil.copytree(home / "logs", out / "logs")
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(process: Running, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while _READY not in log.read_text(encoding="utf-8", errors="replace"):
        process.ensure_alive()
        if time.monotonic() > deadline:
            raise ProcessError(f"the stack is not ready after {_START_SECONDS:.0f} s: see {log}")
        time.sleep(0.1)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Nothing that was set for another stack."""
    others = ("ISSUER_", "VERIFIER_", "LOCUST_", "GATEPASS_", "GATEWAY_", "APPLICATION_")
    return {name: value for name, value in os.environ.items() if not name.startswith(others)} | dict(more)


def _free_ports(count: int) -> list[int]:
    """All open at once, or the system might offer one of them twice."""
    servers = [create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(server.getsockname()[1]) for server in servers]
    finally:
        for server in servers:
            server.close()
