"""`python -m stack` as an operator runs it, on free ports and with its own state folder."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil

from stack.settings import DEFAULT_PORTS
from tests.support.plain_http import HTTP, get_status
from tests.support.processes import ROOT, command_line, free_port, wait_until_ready, without_settings

COMMAND: Final = [sys.executable, "-m", "stack"]
_START_SECONDS: Final = 60.0
PASSWORD: Final = "seven quiet green rivers"


@dataclass(frozen=True)
class Stack:
    """A stack, running or stopped."""

    process: subprocess.Popen[bytes]
    home: Path
    output_file: Path
    ports: dict[str, int]

    @property
    def output(self) -> str:
        return self.output_file.read_text(encoding="utf-8")

    def url(self, port: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def gateway(self, path: str = "/", token: str | None = None, **headers: str) -> httpx.Response:
        authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        return HTTP.get(self.url("GATEWAY_PORT", path), headers=authorization | headers)

    def account(self, path: str, email: str) -> httpx.Response:
        return HTTP.post(self.url("ISSUER_PORT", path), json={"email": email, "password": PASSWORD}, timeout=20)

    def me(self, token: str) -> int:
        """Return the status of the issuer's `GET /me`, or 0 without a response."""
        return get_status(self.url("ISSUER_PORT", "/me"), Authorization=f"Bearer {token}")

    def child(self, *words: str) -> psutil.Process:
        """Return the process of this stack whose command line contains all `words`."""
        return next(child for child in self.descendants() if all(word in command_line(child) for word in words))

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(10)


def settings(home: Path) -> dict[str, str]:
    """Return the environment of a stack, without the caller's own settings."""
    return without_settings() | {"GATEPASS_HOME": str(home)} | {name: str(free_port()) for name in DEFAULT_PORTS}


@contextmanager
def starting_stack(home: Path, environ: dict[str, str] | None = None) -> Iterator[Stack]:
    """Start a stack and yield it at once; stop it at the end of the block."""
    environ = environ or settings(home)
    output_file = home.with_suffix(".output")
    with output_file.open("wb") as output:
        process = subprocess.Popen(COMMAND, env=environ, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield Stack(process, home, output_file, {name: int(environ[name]) for name in DEFAULT_PORTS})
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)


@contextmanager
def running_stack(home: Path, environ: dict[str, str] | None = None) -> Iterator[Stack]:
    """Start a stack and yield it when it is ready; stop it at the end of the block."""
    with starting_stack(home, environ) as stack:
        wait_until_ready(stack.process, lambda: "ready: " in stack.output, stack.output_file, _START_SECONDS)
        yield stack


def failed_start(environ: dict[str, str]) -> tuple[int, str]:
    """Return exit status and output of a stack that must fail to start."""
    done = subprocess.run(
        COMMAND,
        env=environ,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout
