"""Starts, watches and stops processes of the issuer and the verifier."""

import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import forks
from tests.support.forks import Process
from tests.support.inherited_sockets import InheritedSocket, start_as_systemd
from tests.support.plain_http import HTTP, get_status
from tests.support.processes import stop, wait_until, wait_until_ready, without_settings
from tests.support.releases import CURRENT, Release


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running process of the issuer or the verifier."""

    process: Process
    admin_port: int
    log_file: Path

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    def admin(self, path: str, method: str = "GET") -> httpx.Response:
        """Send a request to the admin listener."""
        return HTTP.request(method, self.admin_url + path)

    def readiness(self) -> int:
        """Return the status of /readyz; 0 without a response."""
        return get_status(f"{self.admin_url}/readyz")

    def wait_until_readiness_is(self, status: int) -> None:
        """Wait until /readyz has this status."""
        wait_until_ready(self.process, lambda: self.readiness() == status, self.log_file, 30)

    def log(self) -> str:
        """Return all output so far."""
        return self.log_file.read_text(encoding="utf-8")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        # The last line may be half written.
        whole = self.log().rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def wait_for_event(self, name: str, **members: Any) -> dict[str, Any]:
        """Wait for a log line of that event with these members, and return it."""
        return wait_until(
            lambda: next((line for line in self.events(name) if members.items() <= line.items()), None),
            f"{name} {members} in the log",
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(15)


def environment(program: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return an environment with these settings, given without their prefix, and no others; None omits one."""
    given = {f"{program.upper()}_{name}": str(value) for name, value in settings.items() if value is not None}
    return without_settings() | given


@contextmanager
def started(
    program: str,
    settings: Mapping[str, Any],
    log_file: Path,
    inherited: Sequence[InheritedSocket],
    release: Release,
) -> Iterator[Process]:
    """Run `serve` of a program from its start to the end of the block."""
    environ = environment(program, settings)
    with log_file.open("wb") as log:
        process: Process
        if not inherited and release is CURRENT:
            process = forks.start(program, ["serve"], environ, log)
        else:
            command = [release.python, "-m", *(release.issuer.split() if program == "issuer" else [program]), "serve"]
            process = start_as_systemd(command, inherited, environ, log, release.tree)
    try:
        yield process
    finally:
        # The second signal of `stop` spares the tests the draining of a verifier.
        process.send_signal(signal.SIGTERM)
        stop(process)


def failed_start(program: str, inherited: Sequence[tuple[str, Any]], environ: Mapping[str, str]) -> str:
    """Return the one line that a program prints whose start fails with these inherited sockets."""
    with tempfile.TemporaryFile() as output:
        process = start_as_systemd([sys.executable, "-m", program, "serve"], inherited, environ, output)
        assert process.wait(60) == 1
        output.seek(0)
        (line,) = output.read().decode().splitlines()
        return line
