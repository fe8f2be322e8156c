"""Starts services that inherit listening sockets, as systemd does."""

import fcntl
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.support.processes import ROOT, free_port

InheritedSocket = tuple[str, socket.socket]
"""A name (FileDescriptorName=) and a listening socket."""


def port_of(inherited: Sequence[InheritedSocket], name: str) -> int:
    """Return the TCP port of an inherited socket, or a free one if there is none of that name."""
    ports = [found.getsockname()[1] for known, found in inherited if known == name and found.family == socket.AF_INET]
    return ports[0] if ports else free_port()


@contextmanager
def listening_tcp(name: str) -> Iterator[InheritedSocket]:
    """Yield a TCP socket of this name that listens on a free port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield name, listener


@contextmanager
def notified_manager() -> Iterator[socket.socket]:
    """Yield the socket of a service manager, to which services that are started in the block send notifications."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        pytest.MonkeyPatch.context() as patch,
    ):
        manager.bind(f"{folder}/notify")
        manager.settimeout(30)
        patch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        yield manager


def start_as_systemd(
    command: Sequence[str],
    inherited: Sequence[InheritedSocket],
    environ: Mapping[str, str],
    output: IO[bytes],
    tree: Path = ROOT,
) -> subprocess.Popen[bytes]:
    """Start a service that finds `inherited` from descriptor 3 on, with the variables of sd_listen_fds(3)."""
    if not inherited:
        return subprocess.Popen(command, env=environ, cwd=tree, stdout=output, stderr=subprocess.STDOUT)
    # Out of the way of their places first; a shell, since LISTEN_PID is known only to the child.
    high = [fcntl.fcntl(found.fileno(), fcntl.F_DUPFD, 50) for _, found in inherited]
    places = " ".join(f"{3 + index}<&{descriptor}" for index, descriptor in enumerate(high))
    variables = {"LISTEN_FDS": str(len(inherited)), "LISTEN_FDNAMES": ":".join(name for name, _ in inherited)}
    try:
        return subprocess.Popen(
            ["/bin/bash", "-c", f'export LISTEN_PID=${{LISTEN_PID:-$$}}; exec "$@" {places}', "sh", *command],
            env={**variables, **environ},
            pass_fds=high,
            cwd=tree,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    finally:
        for descriptor in high:
            os.close(descriptor)
