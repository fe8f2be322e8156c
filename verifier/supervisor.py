"""Owns the listening sockets and the worker processes: starts them, replaces one that dies, stops them all.

The sockets outlive every worker, so a connection that comes while one is being replaced waits and is not
refused. Workers are forked before any thread or event loop exists; the supervisor itself only waits for
signals.
"""

import asyncio
import contextlib
import grp
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvloop

from verifier.key_sources import open_sources
from verifier.metrics import Name, Pages
from verifier.policies import PolicyError, Rules
from verifier.settings import VerifierSettings
from verifier.status_sources import open_aggregations
from verifier.worker import Listeners, Worker

BACKLOG: Final = 2048
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_STOP_GRACE_SECONDS: Final = 1.5
_QUICK_SECONDS: Final = 2.0
_MAX_QUICK_FAILURES: Final = 5
_NO_FAULT_OF_ITS_OWN: Final = (0, -signal.SIGTERM, -signal.SIGKILL)

_log = structlog.get_logger()


class ListenError(Exception):
    """A socket can't be had. The message says which setting to change."""


@dataclass(slots=True)
class _Running:
    number: int
    started: float


class Supervisor:
    """Runs `settings.workers` workers until told to stop.

    Args:
        settings: of the process.
        rules: as read at the start; read again on SIGHUP.
        listeners: bound sockets.
    """

    def __init__(self, settings: VerifierSettings, rules: Rules, listeners: Listeners) -> None:
        self._settings, self._rules, self._listeners = settings, rules, listeners
        self._pages = Pages(settings.workers)
        # Workers notice that we are gone, however that came about, by the end of this pipe.
        self._lifeline, self._held = os.pipe()
        self._running: dict[int, _Running] = {}
        self._quick_failures = 0
        # A successor must not wait for an issuer that is down to know what its predecessor knew.
        self._kept = settings.jwks_cache_dir or _temporary_folder()

    def run(self) -> int:
        """Supervise. Returns the exit status of the process."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for number in range(self._settings.workers):
            self._start(number)
        while True:
            received = signal.sigwait(_SIGNALS)
            if received == signal.SIGHUP:
                self._read_rules_again()
                self._tell(signal.SIGHUP)
            elif received != signal.SIGCHLD:
                return self._stop(0)
            elif not self._replace_the_dead():
                _log.error("giving_up", why="workers fail as soon as they start")
                return self._stop(1)

    def _read_rules_again(self) -> None:
        """For successors: one must not decide by what its predecessor had already let go."""
        with contextlib.suppress(PolicyError):  # the workers say what is wrong, and keep what they have
            rules = self._settings.read_rules()
            tls, allow_http = self._settings.trust(), self._settings.jwks_allow_http
            open_sources(rules.sources, tls, allow_http=allow_http)
            open_aggregations(rules.status_lists, tls, allow_http=allow_http)
            self._rules = rules

    def _start(self, number: int) -> None:
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be_worker(number)
        self._running[pid] = _Running(number, time.monotonic())

    def _be_worker(self, number: int) -> None:
        """The life of a worker; does not return."""
        status = 1
        try:
            os.close(self._held)
            self._pages[number].set(Name.READY, 0)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            worker = Worker(self._settings, self._rules, self._pages, number, self._kept)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(worker.serve(self._listeners, self._lifeline))
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it was, it ends here and is said
            _log.exception("worker_failed", worker=number)
        finally:
            # Not through the supervisor's own stack, and not waiting for a thread that hangs in a file.
            os._exit(status)

    def _replace_the_dead(self) -> bool:
        """Start a successor for each worker that ended. False if that is hopeless."""
        for pid, status in _reap():
            ended = self._running.pop(pid, None)
            if ended is None:
                # As process 1 of a container we also inherit the orphans of others.
                continue
            code = os.waitstatus_to_exitcode(status)
            quick = code not in _NO_FAULT_OF_ITS_OWN and time.monotonic() - ended.started < _QUICK_SECONDS
            self._quick_failures = self._quick_failures + 1 if quick else 0
            _log.error("worker_died", worker=ended.number, pid=pid, status=code)
            if self._quick_failures >= _MAX_QUICK_FAILURES:
                return False
            self._start(ended.number)
        return True

    def _stop(self, status: int) -> int:
        """Let the workers drain, then insist; a second signal insists at once."""
        # With ours open, a connection that comes after the workers closed theirs would wait for nobody.
        self._listeners.subrequests.close()
        self._listeners.admin.close()
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_seconds + _STOP_GRACE_SECONDS
        while self._running and (left := deadline - time.monotonic()) > 0:
            received = signal.sigtimedwait(_SIGNALS, left)
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
            for pid, _ in _reap():
                self._running.pop(pid, None)
        self._tell(signal.SIGKILL)
        for pid in self._running:
            os.waitpid(pid, 0)
        if self._kept is not None and self._kept != self._settings.jwks_cache_dir:
            shutil.rmtree(self._kept, ignore_errors=True)
        return status

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, number)


def _temporary_folder() -> Path | None:
    """A private folder for the life of this process, or None where nothing can be written."""
    try:
        return Path(tempfile.mkdtemp(prefix="gatepass-keys-"))
    except OSError:
        return None


def _reap() -> list[tuple[int, int]]:
    """Process id and wait status of every child that has ended."""
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status))


def bind(settings: VerifierSettings) -> Listeners:
    """Take the addresses of the settings.

    Raises:
        ListenError: one of them can't be had.
    """
    admin = _bind_tcp(settings.admin_host, settings.admin_port, "VERIFIER_ADMIN_PORT")
    if settings.uds is None:
        return Listeners(_bind_tcp(settings.host, settings.port, "VERIFIER_PORT"), admin)
    return Listeners(_bind_unix(settings.uds, int(settings.uds_mode, 8), settings.uds_group), admin)


def _bind_tcp(host: str, port: int, variable: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ListenError(
            f"{host}:{port} can't be listened on ({_why(error)}): free it, or set {variable} to another"
        ) from error


def _bind_unix(path: Path, mode: int, group: str | None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        # Before listen(): there is no moment at which the wrong ones could connect.
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except (OSError, KeyError) as error:
        listener.close()
        why = f"no group {group!r}" if isinstance(error, KeyError) else _why(error)
        raise ListenError(f"{path} can't be listened on ({why}): see VERIFIER_UDS, VERIFIER_UDS_GROUP") from error
    return listener


def _why(error: OSError) -> str:
    """The system's own words; some libraries put more into `strerror`, or nothing."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a run that was killed; never one that somebody listens on, never another file."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
