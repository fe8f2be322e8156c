"""The real `python -m verifier`, as an operator runs it."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support import forks
from tests.support.inherited_sockets import InheritedSocket, port_of
from tests.support.raw_http import Response, Wire, bearer, request
from tests.support.releases import CURRENT, Release
from tests.support.services import Service, environment, started
from tests.support.token_forge import AUDIENCE, Forge


@dataclass(frozen=True, kw_only=True)
class SubrequestListener:
    """The listener of subrequests of a verifier; `uds` instead of a port if it listens there."""

    port: int
    forge: Forge
    uds: Path | None = None

    def token(self, **changes: Any) -> bytes:
        """Return a valid token, with changes as in `Forge.claims`."""
        return self.forge.token(time.time(), **changes)

    def connect(self, timeout: float = 5.0) -> Wire:
        """Return a raw connection to the listener."""
        return Wire(self.uds or self.port, timeout)

    def ask(self, target: str = "/verify", *lines: str, token: bytes | None = None, method: str = "GET") -> Response:
        """Send one subrequest on a new connection."""
        fields = [*lines, bearer(token)] if token is not None else list(lines)
        with self.connect() as wire:
            return wire.ask(request(target, *fields, method=method))


@dataclass(frozen=True, kw_only=True)
class VerifierProcess(SubrequestListener, Service):
    """A running `python -m verifier`."""

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each sample of a metric; `name` has no prefix."""
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(self.admin("/metrics").text)
            for sample in family.samples
            if sample.name == f"gatepass_verifier_{name}"
        ]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels; `name` has no prefix."""
        return sum(value for known, value in self.samples(name) if labels.items() <= known.items())

    def reload(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_descriptors(pid: int) -> int:
    """Return the number of descriptors that a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def verifier_command(*arguments: str, stdin: bytes = b"", **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -m verifier …` to its end."""
    return forks.run("verifier", arguments, environment("verifier", settings), stdin, timeout=30)


@dataclass
class VerifierFolder:
    """A folder with the key set and the policies of a verifier, which it starts."""

    path: Path
    forge: Forge = field(default_factory=Forge)

    @property
    def jwks(self) -> Path:
        return self.path / "jwks.json"

    @property
    def policies(self) -> Path:
        return self.path / "policies.toml"

    def publish(self, document: bytes | None = None) -> None:
        """Replace the key set in one step, as an issuer does."""
        new = self.path / "jwks.json.new"
        new.write_bytes(self.forge.jwks if document is None else document)
        new.replace(self.jwks)

    @contextmanager
    def running(
        self,
        *,
        policies: str | None = None,
        ready: int | None = 200,
        inherited: Sequence[InheritedSocket] = (),
        release: Release = CURRENT,
        **settings: Any,
    ) -> Iterator[VerifierProcess]:
        """Run a verifier, and stop it with the block.

        Args:
            policies: the TOML document, if there is to be one.
            ready: the status of /readyz to wait for; None to wait for none.
            inherited: sockets that are passed to it as systemd does.
            settings: further variables without their prefix; None removes a default.
        """
        if not self.jwks.exists():
            self.publish()
        if policies is not None:
            self.policies.write_text(policies, encoding="utf-8")
        port, admin_port = port_of(inherited, "subrequests"), port_of(inherited, "admin")
        values: dict[str, Any] = {
            "PORT": port,
            "ADMIN_PORT": admin_port,
            "ISSUER": self.forge.issuer,
            "AUDIENCE": AUDIENCE,
            "JWKS_FILE": None if "JWKS_URL" in settings else self.jwks,
            "POLICIES_FILE": None if policies is None else self.policies,
        } | settings
        log_file = self.path / f"verifier-{port}.log"
        with started("verifier", values, log_file, inherited, release) as process:
            verifier = VerifierProcess(
                process=process,
                admin_port=values["ADMIN_PORT"],
                log_file=log_file,
                port=values["PORT"],
                forge=self.forge,
                uds=values.get("UDS"),
            )
            if ready is not None:
                verifier.wait_until_readiness_is(ready)
            yield verifier


@contextmanager
def running_verifier(**arguments: Any) -> Iterator[VerifierProcess]:
    """Yield a verifier in its own folder; arguments are those of `VerifierFolder.running`."""
    with (
        tempfile.TemporaryDirectory(prefix="gatepass-verifier-") as folder,
        VerifierFolder(Path(folder)).running(**arguments) as verifier,
    ):
        yield verifier
