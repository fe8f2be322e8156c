"""Starts `python -m issuer`, `python -m verifier` and `python -m doctor` without their imports.

A server process for each program has imported it, and every start is a fork of that process. A fork is a separate
process with its own environment, output, signals and exit status. Only its command line is the server's. Imports are
nearly all of the half second of processor time that a start takes, and the tests start these programs 700 times.
Executables, images, guides and `make run` are tested by the real commands.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[2]
_PRELOADED: Final = {
    "issuer": ("issuer.__main__", "issuer.db.migrate"),  # the commands import the migrations when they need them
    "verifier": ("verifier.__main__",),
    "doctor": ("doctor.__main__",),
}
_MESSAGE_BYTES: Final = 1 << 20
_one_request: Final = threading.Lock()


class Fork:
    """A started program, with what the tests use of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], pid: int, end: int) -> None:
        self.args, self.pid = arguments, pid
        self.returncode: int | None = None
        self._end = end

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._status(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; subprocess.TimeoutExpired after `timeout` seconds."""
        status = self._status(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends at this moment
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _status(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            end = select.poll()  # unlike `select`, it takes descriptors above 1,023
            end.register(self._end, select.POLLIN)
            if end.poll(None if timeout is None else timeout * 1000):
                self.returncode = int(os.read(self._end, 16))
                os.close(self._end)
        return self.returncode


Process = subprocess.Popen[bytes] | Fork
"""A process that a test has started."""


def start(program: str, arguments: Sequence[str], environ: Mapping[str, str], output: IO[bytes]) -> Fork:
    """Start `python -m program` with both outputs in `output`."""
    with Path(os.devnull).open("rb") as nothing:
        return _start(program, arguments, environ, nothing, output, output)


def run(
    program: str, arguments: Sequence[str], environ: Mapping[str, str], stdin: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `python -m program` to its end.

    Raises:
        subprocess.TimeoutExpired: after `timeout` seconds; the process is killed.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = _start(program, arguments, environ, given, out, err)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        printed = []
        for output in (out, err):
            output.seek(0)
            printed.append(output.read().decode())
        return subprocess.CompletedProcess(arguments, process.wait(), *printed)


def _start(program: str, arguments: Sequence[str], environ: Mapping[str, str], *standard: IO[bytes]) -> Fork:
    message = json.dumps([arguments, dict(environ)]).encode()
    end, written = os.pipe()
    with _one_request:
        connection = _server(program, os.getpid())
        socket.send_fds(connection, [message], [*(file.fileno() for file in standard), written])
        pid = connection.recv(16)
    os.close(written)
    assert pid, f"the process that starts {program} has ended"
    return Fork(arguments, int(pid), end)


@cache
def _server(program: str, owner: int) -> socket.socket:
    """Return the connection of this process, whose id is `owner`, to a new server, which ends with the connection."""
    del owner
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-m", "tests.support.forks", program, str(its.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(program: str, connection: socket.socket) -> list[str] | None:
    """Fork for each request. Return in a fork its arguments, and in the server None at the end."""
    for module in _PRELOADED[program]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # else a garbage collection in a fork would copy all memory
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the watchers are not waited for
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 4)
        if not message:
            return None
        if not os.fork():
            break
        for descriptor in descriptors:
            os.close(descriptor)
    # This process watches: it waits for the program, and writes its exit status.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, written = descriptors
    if pid := os.fork():
        connection.send(str(pid).encode())
        for descriptor in (connection.fileno(), *standard):
            os.close(descriptor)
        _, status = os.waitpid(pid, 0)
        os.write(written, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    connection.detach()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    arguments, environ = json.loads(message)
    os.environ.clear()
    os.environ.update(environ)
    return [program, *arguments]


def _main() -> None:
    program, descriptor = sys.argv[1:]
    arguments = _serve(program, socket.socket(fileno=int(descriptor)))
    if arguments is not None:
        sys.argv = arguments
        del sys.modules[f"{program}.__main__"]  # so that it is executed again, as a program
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
