"""One verifier, in one process: connects the parts, handles signals, starts and drains."""

import asyncio
import ctypes
import gc
import os
import signal
from functools import partial

from shared.acceptor import Acceptor
from shared.systemd import notify
from verifier.admin import MAX_CONNECTIONS, AdminConnection, AdminPages
from verifier.background import BackgroundTasks
from verifier.core import VerifierCore
from verifier.health import MAX_LAG_SECONDS, TICK_SECONDS, LoopMonitor
from verifier.listeners import Listeners
from verifier.policy_file import Configuration
from verifier.settings import VerifierSettings
from verifier.subrequest.http_connection import SubrequestConnection
from verifier.subrequest.http_server import HttpServer


class VerifierServer:
    """The parts of a verifier. `configuration` is as it was read at the start; it is read again on SIGHUP."""

    def __init__(self, settings: VerifierSettings, configuration: Configuration) -> None:
        self._core = VerifierCore(settings, configuration)
        self._refresher, metrics = self._core.refresher, self._core.metrics
        self._stopping = asyncio.Event()
        self._loop_monitor = LoopMonitor()
        self._tasks = BackgroundTasks()
        self._pages = AdminPages(
            metrics.registry, self._unhealthy_reasons, self._not_ready_reasons, self._refresher.missing
        )
        self._subrequests = HttpServer(settings.max_connections, settings.drain_seconds)
        self._admin = HttpServer(MAX_CONNECTIONS, drain_seconds=0)
        metrics.connections.set_function(lambda: len(self._subrequests.connections))
        metrics.ready.set_function(lambda: not self._not_ready_reasons())
        metrics.event_loop_lag_seconds.set_function(self._loop_monitor.lag_seconds)

    async def run(self, listeners: Listeners) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends it at once."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_signal_handler(signal.SIGINT, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._core.reload)
        self._tasks.start("tick", self._tick())
        await self._core.start()
        admin = Acceptor(listeners.admin, partial(AdminConnection, self._admin, self._pages))
        new_connection = partial(SubrequestConnection, self._subrequests, self._core.authorizer)
        subrequests = [Acceptor(listener, new_connection) for listener in listeners.subrequests]
        _settle_memory()
        notify(os.environ, "READY=1")
        await self._stopping.wait()
        notify(os.environ, "STOPPING=1")
        for acceptor in subrequests:
            acceptor.close()
        for acceptor in subrequests:
            await acceptor.wait_closed()
        await self._subrequests.drain()
        admin.close()
        await admin.wait_closed()
        await self._admin.drain()

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._subrequests.abort()
        self._subrequests.draining = True
        self._stopping.set()

    def _not_ready_reasons(self) -> list[str]:
        """Return what is missing if no token can be verified, and whether the process is stopping."""
        reasons = [] if self._refresher.is_ready() else self._refresher.missing()
        return [*reasons, "stopping"] if self._subrequests.draining else reasons

    def _unhealthy_reasons(self) -> list[str]:
        """Return the faults that only a restart repairs. A frozen loop sends no response, which fails a probe too."""
        ended = [*self._tasks.ended(), *self._refresher.ended_tasks()]
        reasons = [f"task {name} has ended" for name in ended]
        if self._loop_monitor.is_stalled():
            reasons.append(f"the event loop was blocked for more than {MAX_LAG_SECONDS:g} s")
        return reasons

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._loop_monitor.tick()
            self._subrequests.expire_connections()
            self._admin.expire_connections()
            if not self._unhealthy_reasons():
                notify(os.environ, "WATCHDOG=1")


def _settle_memory() -> None:
    """Return memory that only the start needed to the system, and exempt the rest from garbage collection."""
    gc.collect()
    gc.freeze()
    # glibc keeps what imports and parsing have freed, some 4 MiB; other C libraries have no such function.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
