"""What must hold before the first process starts. Each fault is one line: what is wrong and what to do."""

import contextlib
import fcntl
import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, TextIO

import psutil

from stack.settings import HOST, StackError, StackSettings

_INSTALL: Final = "run `make run`, which installs it"
_LOCK_WAIT_SECONDS: Final = 6.0


def check_platform() -> None:
    """Refuse systems that neither PostgreSQL's nor Envoy's packages support.

    Raises:
        StackError: with the way that does work there.
    """
    if sys.platform not in {"linux", "darwin"}:
        raise StackError(f"the stack runs on Linux and macOS, not on {sys.platform}: use compose.yaml instead")


def find_binary(package: str, path: str, distribution: str) -> Path:
    """The executable `path` inside the installed `package`, proved to run on this machine.

    Raises:
        StackError: it is missing or can't run here.
    """
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    binary = Path(locations[0], path) if locations else None
    if binary is None or not binary.is_file():
        raise StackError(f"{Path(path).name} is missing (package {distribution}): {_INSTALL}")
    try:
        subprocess.run([binary, "--version"], check=True, capture_output=True, timeout=30)  # noqa: S603 - our own
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"{binary} does not run on this machine ({error}): use compose.yaml instead") from error
    return binary


def lock_home(settings: StackSettings) -> TextIO:
    """Take the state folder for this process. The lock is held as long as the returned file is open.

    A supervisor that was killed leaves the lock to its guard for the seconds that it needs to clean up.

    Raises:
        StackError: another stack has it, or it can't be written.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o711)
        settings.logs.mkdir(exist_ok=True, mode=0o700)
        lock = (settings.home / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StackError(f"{settings.home} can't be written ({error.strerror}): set GATEPASS_HOME") from error
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while not _try_lock(lock):
        lock.seek(0)
        owner = lock.read().strip()
        if _alive(owner) or time.monotonic() > deadline:
            lock.close()
            raise StackError(f"another stack (process {owner}) runs on {settings.home}: stop it or set GATEPASS_HOME")
        time.sleep(0.1)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def check_ports(settings: StackSettings) -> None:
    """Refuse to start when somebody else listens where one of ours would.

    Raises:
        StackError: naming every such port, its user if known, and the variable that moves ours.
    """
    taken = [f"{port} ({name}{_user_of(port)})" for name, port in settings.ports.items() if _in_use(port)]
    if taken:
        raise StackError(f"port in use: {', '.join(taken)}. Stop its user, or set the variable to a free port")


def _try_lock(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: str) -> bool:
    return pid.isdigit() and psutil.pid_exists(int(pid))


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a connection of the last run that lingers in TIME_WAIT is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return True
    return False


def _user_of(port: int) -> str:
    # Other people's sockets may not be ours to see; then the port alone has to do.
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f", used by {psutil.Process(connection.pid).name()}, process {connection.pid}"
    return ""
