"""The target of a load run: a one-machine stack with its own ports and state folder, or a deployed Gatepass."""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests import seed
from loadtests.processes import Running, free_ports, run, running

_PORTS: Final = ("GATEWAY_PORT", "ISSUER_PORT", "ISSUER_ADMIN_PORT", "VERIFIER_PORT", "VERIFIER_ADMIN_PORT")
_START_SECONDS: Final = 90.0
_COMMAND_SECONDS: Final = 600.0
_READY: Final = "gatepass: ready: "

# Locust acts as the one proxy in front and gives each of its users a client IP of its own, so that the rate limits
# stay at their defaults.
SETTINGS: Final = {"ISSUER_TRUSTED_PROXY_HOPS": "1"}
# The shortest cache time of a key set, so that a new key signs two minutes after its publication.
ROTATION_SETTINGS: Final = {"ISSUER_JWKS_MAX_AGE_SECONDS": "10"}


@dataclass(frozen=True, slots=True)
class LoadTarget:
    """The target of a run.

    Attributes:
        gateway, issuer: base URLs.
        accounts: number of seeded accounts; with 0 each user registers.
        password_file: their password.
        stack_pid: process id of our own stack.
    """

    gateway: str
    issuer: str
    accounts: int
    password_file: Path
    stack_pid: int | None = None

    def locust_command(self, files: str, call: str, think_seconds: float) -> list[str]:
        """Return the command of locust with these locustfiles, and with `call` as the path behind the gateway."""
        command = [sys.executable, "-m", "locust", "--headless", "--only-summary", "--loglevel", "WARNING"]
        command += ["-f", files, "--host", self.gateway, "--issuer", self.issuer, "--call", call]
        command += ["--think", f"{think_seconds:g}", "--accounts", str(self.accounts)]
        command += ["--password-file", str(self.password_file)]
        if self.stack_pid is not None:
            command += ["--stack-pid", str(self.stack_pid), "--client-ips"]
        return command


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
    def issuer_settings(self) -> dict[str, str]:
        """Return the settings that the stack wrote for the issuer, as `export NAME=VALUE` for a shell."""
        words = shlex.split((self.home / "issuer.env").read_text(encoding="utf-8"))
        return dict(word.split("=", 1) for word in words if word != "export")

    def seeded(self, accounts: int) -> LoadTarget:
        """Import this number of accounts with a new password; return the target with them."""
        password_file = self.home / "password"
        password = seed.write_password(password_file)
        if accounts:
            self.import_accounts(range(accounts), password)
        gateway, issuer = self.url("GATEWAY_PORT"), self.url("ISSUER_PORT")
        return LoadTarget(gateway, issuer, accounts, password_file, self.process.pid)

    def import_accounts(self, numbers: Iterable[int], password: str) -> None:
        """Import the seeded accounts with these numbers."""
        file = self.home / "accounts.jsonl"
        seed.write_accounts(numbers, password, file)
        self.run_issuer("users", "import", str(file))

    def run_issuer(self, *arguments: str) -> str:
        """Run a command of the issuer with the settings of the stack; return its output."""
        environment = clean_environment(self.issuer_settings)
        return run([sys.executable, "-m", "issuer", *arguments], timeout=_COMMAND_SECONDS, environment=environment)


@contextmanager
def running_testbed(out: Path, more: Mapping[str, str] | None = None) -> Iterator[Testbed]:
    """Run a stack with `more` settings below `out` until the block ends. Its logs stay in `out/logs`."""
    home = Path(tempfile.mkdtemp(prefix="stack-", dir=out))
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    settings = SETTINGS | dict(more or {})
    settings |= {"GATEPASS_HOME": str(home), **{name: str(port) for name, port in ports.items()}}
    log = out / "stack.log"
    try:
        with running([sys.executable, "-m", "stack"], environment=clean_environment(settings), log=log) as process:
            process.wait_until(lambda: _READY in log.read_text(encoding="utf-8", errors="replace"), _START_SECONDS)
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
