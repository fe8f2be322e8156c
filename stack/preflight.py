"""Checks before the first process starts. Each error is one line: what is wrong and what to do."""

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

_LOCK_WAIT_SECONDS: Final = 6.0


def check_platform() -> None:
    """Reject platforms that the packages of PostgreSQL and Envoy do not support.

    Raises:
        StackError: the platform is not supported.
    """
    if sys.platform not in {"linux", "darwin"}:
        raise StackError(f"the stack runs on Linux and macOS, not on {sys.platform}: use compose.yaml instead")


def find_binary(package: str, path: str, distribution: str) -> Path:
    """Return the executable `path` of the installed `package`, after running it once.

    Raises:
        StackError: it is missing or does not run on this machine.
    """
    spec = importlib.util.find_spec(package)
    locations = list(spec.submodule_search_locations or []) if spec else []
    binary = Path(locations[0], path) if locations else None
    if binary is None or not binary.is_file():
        raise StackError(f"{Path(path).name} is missing (package {distribution}): install it with `make run`")
    try:
        subprocess.run([binary, "--version"], check=True, capture_output=True, timeout=30)  # noqa: S603 - our own
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"{binary} does not run on this machine ({error}): use compose.yaml instead") from error
    return binary


def lock_home(settings: StackSettings) -> TextIO:
    """Lock the state folder for this process. The lock is held as long as the returned file is open.

    If a supervisor was killed, its reaper holds the lock for the few seconds of its cleanup.

    Raises:
        StackError: another stack holds the lock, or the folder is not writable.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o711)
        settings.logs.mkdir(exist_ok=True, mode=0o700)
        lock = (settings.home / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StackError(
            f"cannot write {settings.home} ({error.strerror}): set GATEPASS_HOME to another folder"
        ) from error
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while not _try_lock(lock):
        lock.seek(0)
        holder = lock.read().strip()
        if _alive(holder) or time.monotonic() > deadline:
            lock.close()
            raise StackError(
                f"another stack (process {holder}) uses {settings.home}: stop it, or change GATEPASS_HOME"
            )
        time.sleep(0.1)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def check_ports(settings: StackSettings) -> None:
    """Reject ports on which another process listens.

    Raises:
        StackError: names every port in use, its variable and, if known, the process.
    """
    in_use = [f"{port} ({name}{_process_on(port)})" for name, port in settings.ports.items() if _in_use(port)]
    if in_use:
        raise StackError(f"port in use: {', '.join(in_use)}. Stop that process, or set the variable to a free port")


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
        # As servers do, so that connections of the last run in TIME_WAIT do not count as in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return True
    return False


def _process_on(port: int) -> str:
    # Without permission to see the sockets of other users only the port is reported.
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f", used by {psutil.Process(connection.pid).name()}, process {connection.pid}"
    return ""
