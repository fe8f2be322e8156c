"""The site under chaos: two issuers on one PostgreSQL, two gateways with a verifier beside each, an application.

    clients ─▶ Envoy ─▶ application            clients ─▶ nginx ─▶ application
                 └─▶ verifier 1 (accepts stale lists)       └─▶ verifier 2 (rejects stale lists)

Verifiers and clients reach the issuers through a load balancer without health checks. A process that exits is started
again after 100 ms, as by the systemd units. There is no other repair.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from issuer.keys.models import KeyState, in_state, read_key_records
from stack import gateway_config
from stack.postgres import Postgres
from stack.probes import http_ready
from stack.settings import ROOT, StackSettings
from stack.supervisor import Program, Supervisor
from tests.chaos.links import Link, tcp, unix
from tests.support.gateway_programs import PROGRAMS
from tests.support.processes import core_waits, free_port, without_settings

RESTART_SECONDS: Final = 0.1
"""`RestartSec` of the systemd units."""

KEY_SET_SECONDS: Final = 10
ACCESS_TOKEN_SECONDS: Final = 60
GATEWAYS: Final = {"gateway 1": "envoy", "gateway 2": "nginx"}
VERIFIERS: Final = {"verifier 1": "accept", "verifier 2": "reject"}
ISSUERS: Final = ("issuer 1", "issuer 2")
POSTGRESQL: Final = "postgresql"
APPLICATION: Final = "application"
_FOREVER: Final = 1_000_000
_DISKS: Final = {"database": "320m", "services": "24m"}
_FAKETIME: Final = "/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1"
_COMMAND_SECONDS: Final = 60.0


class UnavailableFaultError(Exception):
    """A fault cannot be caused on this machine; the message says why."""


@dataclass
class Site:
    """A running site.

    Attributes:
        home: its files. `home/database` and `home/services` are separate file systems if it may mount them.
        supervisor: restarts processes that exit.
        ports: by the name of a part, and of its admin listener (`issuer 1 admin`).
        links: by their names.
        disks: the small file systems, by the name of the part that writes to them.
        clocks: files with the offset of a part's clock, where libfaketime is installed.
    """

    home: Path
    supervisor: Supervisor
    ports: dict[str, int]
    links: dict[str, Link] = field(default_factory=dict)
    disks: dict[str, Path] = field(default_factory=dict)
    clocks: dict[str, Path] = field(default_factory=dict)
    database_url: str = ""

    @property
    def issuer_url(self) -> str:
        """Return the issuer identifier: the URL of the load balancer."""
        return f"http://127.0.0.1:{self.ports['clients-issuers']}"

    @property
    def keys(self) -> Path:
        """Return the key directory of both issuers."""
        return self.home / "services/keys"

    def current_kid(self) -> str:
        """Return the id of the signing key."""
        key = in_state(read_key_records(self.keys), KeyState.CURRENT)
        assert key is not None
        return key.kid

    def url(self, part: str) -> str:
        """Return the base URL of a part."""
        return f"http://127.0.0.1:{self.ports[part]}"

    def processes(self, part: str) -> list[psutil.Process]:
        """Return the process that was started under this name, and its children."""
        _, process = self.supervisor._running[part]
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(process.pid)
            return [main, *main.children(recursive=True)]
        return []

    def waiting_seconds(self) -> dict[int, float]:
        """Return the seconds that each thread has waited for a core, by thread id.

        Threads that hash passwords are left out, because they have the lowest priority.
        """
        found: dict[int, float] = {}
        for part, (_, process) in self.supervisor._running.items():
            for pid in (process.pid, *_children(process.pid)):
                # Envoy serves in a thread of its own, all others in the first.
                found |= core_waits(pid, all_threads=part in GATEWAYS)
        return found

    def signal_all(self, part: str, number: signal.Signals) -> None:
        """Send a signal to every process of a part, as systemd does to a unit."""
        for process in self.processes(part):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    async def run_issuer(self, *arguments: str) -> str:
        """Run a command of the issuer; AssertionError if it fails."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "issuer", *arguments],
            cwd=ROOT,
            env=self.issuer_settings("issuer 1") | {"ISSUER_DATABASE_URL": self.database_url},
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"issuer {' '.join(arguments)} ended with {done.returncode}: {done.stderr}"
        return str(done.stdout)

    def issuer_settings(self, name: str) -> dict[str, str]:
        """Return the environment of an issuer."""
        return self._environ(name) | {
            "ISSUER_PORT": str(self.ports[name]),
            "ISSUER_ADMIN_PORT": str(self.ports[f"{name} admin"]),
            "ISSUER_URL": self.issuer_url,
            "ISSUER_DATABASE_URL": f"postgresql://issuer@127.0.0.1:{self.ports[f'{name}-postgresql']}/gatepass",
            "ISSUER_KEYS_DIR": str(self.keys),
            "ISSUER_JWKS_MAX_AGE_SECONDS": str(KEY_SET_SECONDS),
            "ISSUER_ACCESS_TOKEN_SECONDS": str(ACCESS_TOKEN_SECONDS),
            # Each client is behind a proxy of its own, so that the limits for one client IP stay as they come.
            "ISSUER_TRUSTED_PROXY_HOPS": "1",
        }

    def verifier_settings(self, name: str) -> dict[str, str]:
        """Return the environment of a verifier."""
        source = f"http://127.0.0.1:{self.ports[f'{name}-issuers']}"
        cache = self.home / "services" / name.replace(" ", "-")
        cache.mkdir(exist_ok=True, mode=0o700)
        return self._environ(name) | {
            "VERIFIER_PORT": str(self.ports[name]),
            "VERIFIER_ADMIN_PORT": str(self.ports[f"{name} admin"]),
            "VERIFIER_ISSUER": self.issuer_url,
            "VERIFIER_JWKS_URL": f"{source}/.well-known/jwks.json",
            "VERIFIER_STATUS_LISTS": f"{source}/status-lists",
            "VERIFIER_STATUS_STALE": VERIFIERS[name],
            "VERIFIER_CACHE_DIR": str(cache),
            "VERIFIER_POLICIES_FILE": str(ROOT / "deploy/gateways/policies.toml"),
        }

    def _environ(self, name: str) -> dict[str, str]:
        """Return this process's environment without settings of Gatepass, with a clock that can be stepped."""
        clock = self.clocks.get(name)
        if clock is None:
            return without_settings()
        return without_settings() | {
            "LD_PRELOAD": str(libfaketime()),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_CACHE_DURATION": "1",
            # Both names, for old and new versions: time-outs do not jump with the clock, as on a real machine.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def libfaketime() -> Path | None:
    """Return the library that steps clocks, if it is installed."""
    return next(Path("/").glob(_FAKETIME.lstrip("/")), None)


def _children(pid: int) -> list[int]:
    """Return the ids of a process's children. Unlike psutil, this does not read every process of the machine."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


@asynccontextmanager
async def running_site(rng: random.Random) -> AsyncIterator[Site]:
    """Run a site until the end of the block. Its files are then removed; until then its logs are in `home/logs`."""
    # Not in a private folder: PostgreSQL may run as another user.
    home = Path(tempfile.mkdtemp(prefix="gatepass-chaos-"))
    os.chmod(home, 0o711)  # noqa: PTH101 - in one call, before there is anything else to do
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        disks = {name: home / name for name in _DISKS}
        mounted = {name: path for name, path in disks.items() if _mount(path, _DISKS[name], cleanup)}
        logs = home / "logs"
        logs.mkdir()
        lock = cleanup.enter_context((home / "lock").open("w"))
        supervisor = Supervisor(logs, lock, lambda _: None, [RESTART_SECONDS] * _FOREVER)
        site = Site(home, supervisor, {name: free_port() for name in _port_names()}, disks=mounted)
        if libfaketime() is not None:
            for name in (*ISSUERS, *VERIFIERS):
                site.clocks[name] = home / f"clock of {name}"
                site.clocks[name].write_text("+0\n")
        async with supervisor, _started(site, rng):
            watching = asyncio.create_task(supervisor.supervise())
            try:
                yield site
            finally:
                watching.cancel()
                for part in supervisor._running:
                    site.signal_all(part, signal.SIGCONT)
                await asyncio.gather(watching, return_exceptions=True)


def _port_names() -> Iterable[str]:
    for name in (*ISSUERS, *VERIFIERS):
        yield from (name, f"{name} admin")
    yield from (*GATEWAYS, APPLICATION, *_link_names())


def _link_names() -> Iterable[str]:
    yield "clients-issuers"
    yield from (f"{name}-issuers" for name in VERIFIERS)
    yield from (f"{name}-postgresql" for name in ISSUERS)
    yield from (f"{gateway}-{verifier}" for gateway, verifier in zip(GATEWAYS, VERIFIERS, strict=True))


def _mount(path: Path, size: str, cleanup: contextlib.ExitStack) -> bool:
    """Mount a small file system, which can be filled; return whether this process may mount."""
    path.mkdir(mode=0o711)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "gatepass-chaos", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    cleanup.callback(subprocess.run, ["umount", "--lazy", str(path)], check=False)
    return True


@asynccontextmanager
async def _started(site: Site, rng: random.Random) -> AsyncIterator[None]:
    home, supervisor = site.home, site.supervisor
    postgres = Postgres(StackSettings(home / "database", site.keys, {}, {}), lambda _: None)
    await postgres.prepare(supervisor)
    socket = str(home / "database/postgres/.s.PGSQL.5432")
    targets = {
        "clients-issuers": [tcp(site.ports[name]) for name in ISSUERS],
        **{f"{name}-issuers": [tcp(site.ports[issuer]) for issuer in ISSUERS] for name in VERIFIERS},
        **{f"{name}-postgresql": [unix(socket)] for name in ISSUERS},
        **{f"{one}-{two}": [tcp(site.ports[two])] for one, two in zip(GATEWAYS, VERIFIERS, strict=True)},
    }
    async with contextlib.AsyncExitStack() as servers:
        for name, connects in targets.items():
            site.links[name] = Link(name, site.ports[name], connects, random.Random(rng.random()))
            await servers.enter_async_context(site.links[name].listening())
        await supervisor.start(_small(postgres.server()), postgres.ready)
        site.database_url = postgres.url
        await site.run_issuer("migrate")
        await site.run_issuer("keys", "generate", "--if-missing")
        python = sys.executable
        for name in ISSUERS:
            program = Program(name, [python, "-m", "issuer", "serve"], site.issuer_settings(name))
            await supervisor.start(program, http_ready(site.ports[f"{name} admin"], "/readyz", 200))
        for name in VERIFIERS:
            program = Program(name, [python, "-m", "verifier"], site.verifier_settings(name))
            await supervisor.start(program, http_ready(site.ports[f"{name} admin"], "/readyz", 200))
        environ = {**os.environ, "APPLICATION_PORT": str(site.ports[APPLICATION])}
        application = Program(APPLICATION, [python, "-m", "stack.sample_app"], environ)
        await supervisor.start(application, http_ready(site.ports[APPLICATION], "/", 200))
        for gateway, verifier in zip(GATEWAYS, VERIFIERS, strict=True):
            program = Program(gateway, _gateway_command(site, gateway, site.ports[f"{gateway}-{verifier}"]))
            await supervisor.start(program, http_ready(site.ports[gateway], "/", 401))
        yield


def _small(server: Program) -> Program:
    """Return the server, configured with little write-ahead log, which must fit into the small file system."""
    server.command.extend(["-c", "max_wal_size=96MB", "-c", "min_wal_size=32MB"])
    return server


def _gateway_command(site: Site, gateway: str, verifier_port: int) -> list[str]:
    folder = site.home / gateway.replace(" ", "-")
    folder.mkdir()
    name = GATEWAYS[gateway]
    gateway_config.write(
        name,
        folder,
        {
            "GATEWAY_PORT": str(site.ports[gateway]),
            "VERIFIER_PORT": str(verifier_port),
            "APPLICATION_PORT": str(site.ports[APPLICATION]),
            "CHECK_PORT": str(free_port()),
        },
    )
    return PROGRAMS[name].command(folder)
