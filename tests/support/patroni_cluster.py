"""Three machines with etcd, Patroni and PostgreSQL: network namespaces on a bridge, whose links can be cut.

The configuration is `deploy/patroni/patroni.yml` with the addresses and paths of the test. Needs root.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import asyncpg  # noqa: TID251 - tests look at the database from outside
import httpx
import yaml

from tests.support.plain_http import HTTP
from tests.support.postgres import execute
from tests.support.processes import ROOT, core_waits, database_folder, finished, wait_until
from tests.support.programs import absent, program

BIN: Final = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
_CONFIG: Final = ROOT / "deploy/patroni/patroni.yml"
_PACKAGES: Final = {"patroni": "patroni", "etcd": "etcd-server", "ip": "iproute2", "setpriv": "util-linux"}
_SECONDS: Final = 120.0
_AS_POSTGRES: Final = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--inh-caps=-all")


@dataclass(frozen=True)
class Machine:
    """One of the three."""

    name: str
    address: str
    peers: dict[str, str]
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    @cached_property
    def namespace(self) -> str:
        return f"gp{os.getpid()}-{self.name}"

    @property
    def link(self) -> str:
        """Return the name of its network interface on the bridge."""
        return f"gp{os.getpid()}{self.name}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def config(self) -> Path:
        return self.folder / "patroni.yml"

    def start(self) -> None:
        """Start etcd and Patroni, which starts PostgreSQL."""
        self.start_etcd()
        self.start_patroni()

    def start_patroni(self) -> None:
        self._run("patroni", str(self.config))

    def start_etcd(self) -> None:
        members = ",".join(f"{name}=http://{address}:2380" for name, address in self.peers.items())
        clients = f"http://{self.address}:2379"
        peers = f"http://{self.address}:2380"
        self._run(
            *("etcd", "--name", self.name, "--data-dir", str(self.folder / "etcd"), "--enable-v2"),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", members),
        )

    def write_config(self) -> None:
        """Write the shipped configuration for this machine."""
        config = yaml.safe_load(_CONFIG.read_text(encoding="utf-8"))
        config["name"] = self.name
        config["etcd"]["hosts"] = [f"{address}:2379" for address in self.peers.values()]
        for section, port in (("restapi", 8008), ("postgresql", 5432)):
            config[section] |= dict.fromkeys(("listen", "connect_address"), f"{self.address}:{port}")
        network = f"{self.address.rpartition('.')[0]}.0/24"
        config["postgresql"]["pg_hba"] = [
            rule.replace("10.0.0.0/24", network) for rule in config["postgresql"]["pg_hba"]
        ]
        paths = {"bin_dir": BIN, "data_dir": self.data, "pgpass": self.folder / "pgpass"}
        config["postgresql"] |= {name: str(path) for name, path in paths.items()}
        # The machines share one file system, and their files need not outlive a power cut.
        config["postgresql"]["parameters"] = {"unix_socket_directories": str(self.folder), "fsync": "off"}
        config["watchdog"]["mode"] = "off"
        self.config.write_text(yaml.safe_dump(config), encoding="utf-8")
        self.config.chmod(0o600)
        shutil.chown(self.config, "postgres")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the machine."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill every process, like a loss of power."""
        self.signal(signal.SIGKILL)
        for process in self.started:
            process.wait()
        self.started.clear()
        wait_until(lambda: not self._pids(), f"{self.name} is dead")

    def cut(self) -> None:
        """Disconnect it from the network."""
        _ip("link", "set", self.link, "down")

    def connect(self) -> None:
        """Connect it to the network again, and to the other machines."""
        _ip("link", "set", self.link, "up")
        for address in self._others():
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "exec", self.namespace, "ip", "route", "del", "blackhole", address)

    def cut_from_peers(self) -> None:
        """Disconnect it from the other machines; the issuers still reach it."""
        for address in self._others():
            _ip("netns", "exec", self.namespace, "ip", "route", "add", "blackhole", address)

    def status(self) -> dict[str, Any]:
        """Return the status from its Patroni; empty if it does not respond."""
        try:
            response = HTTP.get(f"http://{self.address}:8008/patroni", timeout=2)
        except httpx.TransportError:
            return {}
        document: dict[str, Any] = response.json()
        return document

    def log(self) -> str:
        return (self.folder / "patroni.log").read_text(encoding="utf-8", errors="replace")

    def run_as_postgres(self, *command: str, typed: str = "") -> str:
        """Run a command on it and return its output."""
        done = finished(["ip", "netns", "exec", self.namespace, *_AS_POSTGRES, *command], stdin=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def core_waits(self) -> dict[int, float]:
        """Return the seconds for which each thread of the machine has waited for a core."""
        waits: dict[int, float] = {}
        for pid in self._pids():
            waits |= core_waits(pid, all_threads=True)
        return waits

    def _others(self) -> list[str]:
        return [address for address in self.peers.values() if address != self.address]

    def _run(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *_AS_POSTGRES, program(name, _PACKAGES[name]), *arguments],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                cwd=self.folder,
                start_new_session=True,
            )
        self.started.append(process)
        with suppress(FileNotFoundError):
            # Each machine of a real cluster has processors of its own; here they are shared with the load.
            Path(f"/proc/{process.pid}/autogroup").write_text("-15", encoding="ascii")

    def _pids(self) -> list[int]:
        return [int(pid) for pid in _ip("netns", "pids", self.namespace).split()]


@dataclass(frozen=True)
class Cluster:
    """The three machines; one of them is the primary."""

    machines: tuple[Machine, ...]

    def url(self, database: str = "gatepass", hosts: Sequence[Machine] = (), user: str = "postgres") -> str:
        """Name a database on all machines, or on some."""
        listed = ",".join(f"{machine.address}:5432" for machine in hosts or self.machines)
        attributes = "?target_session_attrs=read-write" if not hosts else ""
        return f"postgresql://{user}:{self.password}@{listed}/{database}{attributes}"

    @cached_property
    def password(self) -> str:
        """Return the password of the superuser."""
        return self._password_of("superuser")

    def primary(self) -> Machine:
        """Return the primary that the machines agree on, once it has a synchronous standby."""

        def agreed() -> Machine | None:
            leaders = [machine for machine in self.machines if self._leads(machine)]
            return leaders[0] if len(leaders) == 1 else None

        return wait_until(agreed, "one primary", _SECONDS)

    def wait_until_whole(self) -> None:
        """Wait until both standbys stream from the primary."""

        def is_whole() -> bool:
            states = [machine.status() for machine in self.machines]
            roles = sorted(str(state.get("role")) for state in states)
            # A copy, and a standby that asks where to begin, are listed too.
            streaming = [
                len([one for one in state.get("replication", ()) if one["state"] == "streaming"])
                for state in states
                if state.get("role") == "master"
            ]
            timelines = {state.get("timeline") for state in states}
            running = all(state.get("state") == "running" for state in states)
            return roles == ["master", "replica", "replica"] and streaming == [2] and running and len(timelines) == 1

        wait_until(is_whole, "a primary and two standbys", _SECONDS)

    def execute(self, statement: str, *arguments: object, database: str = "gatepass") -> list[asyncpg.Record]:
        """Run a statement on the primary."""
        return execute(self.url(database, [self.primary()]), statement, *arguments)

    def back_up(self, target: Path) -> None:
        """Copy the data of the primary into `target`."""
        primary = self.primary()
        source = f"host={primary.address} user=replicator password={self._password_of('replication')}"
        primary.run_as_postgres(f"{BIN}/pg_basebackup", "-d", source, "-D", str(target), "-c", "fast")

    def restore(self, backup: Path) -> None:
        """Delete the data of all machines and restore a backup: docs/operations/backup-and-restore.md."""
        for machine in self.machines:
            machine.kill()
            shutil.rmtree(machine.data)
        first = self.machines[0]
        backup.rename(first.data)
        for machine in self.machines:
            machine.start_etcd()
        # Not before etcd responds and the lost leader's lock has expired.
        wait_until(lambda: self._removed_from_etcd(first), "the lost cluster is removed from etcd", _SECONDS)
        first.start_patroni()
        wait_until(lambda: first.status().get("role") == "master", "the backup leads", _SECONDS)
        for machine in self.machines[1:]:
            machine.start_patroni()
        self.wait_until_whole()

    def _removed_from_etcd(self, machine: Machine) -> bool:
        command = ("patronictl", "-c", str(machine.config), "remove", "gatepass")
        try:
            machine.run_as_postgres(*command, typed="gatepass\nYes I am aware\n")
        except AssertionError:
            return False
        return True

    def _password_of(self, user: str) -> str:
        config = yaml.safe_load(_CONFIG.read_text(encoding="utf-8"))
        return str(config["postgresql"]["authentication"][user]["password"])

    def _leads(self, machine: Machine) -> bool:
        status = machine.status()
        standbys = [standby["sync_state"] for standby in status.get("replication", ())]
        return status.get("role") == "master" and "sync" in standbys

    def start(self) -> None:
        """Start every machine and wait until the cluster is whole."""
        for machine in self.machines:
            machine.start()
        self.wait_until_whole()


@contextmanager
def patroni_cluster() -> Iterator[Cluster]:
    """Run three machines, and remove them afterwards."""
    for name, package in _PACKAGES.items():
        program(name, package)
    if BIN is None or not (BIN / "postgres").exists():
        absent("PostgreSQL's server is not installed (it is in the package postgresql)")
    if os.geteuid() != 0:
        absent("network namespaces need root")
    # On a disk, etcd and `pg_rewind` of all three machines would wait for each other's flushes.
    folder = database_folder("patroni")
    folder.chmod(0o755)
    network = f"10.231.{os.getpid() % 250}"
    bridge = f"gp{os.getpid()}"
    addresses = {f"db{number}": f"{network}.{10 + number}" for number in (1, 2, 3)}
    machines = tuple(Machine(name, address, addresses, folder / name) for name, address in addresses.items())
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for machine in machines:
            _plug_in(machine, bridge)
            machine.folder.mkdir(mode=0o700)
            shutil.chown(machine.folder, "postgres")
            machine.write_config()
        yield Cluster(machines)
    finally:
        for machine in machines:
            with suppress(subprocess.CalledProcessError):
                machine.kill()
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", machine.namespace)
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", bridge)
        shutil.rmtree(folder, ignore_errors=True)


def _plug_in(machine: Machine, bridge: str) -> None:
    _ip("netns", "add", machine.namespace)
    _ip("link", "add", machine.link, "type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
    _ip("link", "set", machine.link, "master", bridge, "up")
    for command in (
        ("link", "set", "lo", "up"),
        ("address", "add", f"{machine.address}/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
    ):
        _ip("-netns", machine.namespace, *command)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout
