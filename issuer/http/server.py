"""The two listeners of the process, run by uvicorn.

Their sockets are inherited from a service manager, or bound as the settings say. Several issuers may share a socket.

On SIGTERM or SIGINT the public listener stops accepting connections and completes its requests. The admin listener
responds until then.
"""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from issuer.errors import CommandError
from issuer.http.connections import MAX_CONNECTIONS, WRITE_SECONDS, Connections
from issuer.http.protocol import HttpConnection
from issuer.settings import IssuerSettings
from shared.acceptor import Acceptor
from shared.systemd import InheritedSocketError, notify, take_inherited_sockets

ADMIN_NAME: Final = "admin"
"""The name (FileDescriptorName=) of an inherited socket for the admin listener; the other one is public."""

_OTHER_DESCRIPTORS: Final = 512
_DRAIN_SECONDS: Final = 2
_SEND_BUFFER_BYTES: Final = 64 * 1024
"""Kernel buffer for unread response bytes of each connection. The kernel adds as much for its own bookkeeping."""


class Listener(uvicorn.Server):
    """One application on one socket. uvicorn starts and stops it; `HttpConnection` is the protocol (ADR 0087).

    Args:
        listening: a socket from `open_sockets`.
        app: the ASGI application.
        connections: the connections of this listener.
        ready: called when the listener accepts connections.
    """

    def __init__(
        self,
        listening: socket.socket,
        app: ASGIApp,
        connections: Connections,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=_DRAIN_SECONDS,
            )
        )
        self._listening, self._app, self._connections, self._ready = listening, app, connections, ready
        self.server_state.connections = cast("Any", connections)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, instead of uvicorn's own servers (uvicorn)."""
        del sockets
        self.servers = cast("Any", [Acceptor(self._listening, self._connect)])
        self.started = True
        self._ready()

    def _connect(self) -> HttpConnection:
        return HttpConnection(self._connections, self._app, self.server_state.tasks, self._default_fields)

    def _default_fields(self) -> bytes:
        return b"".join(b"%s: %s\r\n" % field for field in self.server_state.default_headers)

    async def on_tick(self, counter: int) -> bool:
        """Drop expired connections once a second (uvicorn calls this ten times a second)."""
        if counter % 10 == 0:
            self._connections.tick()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: `serve` handles the signals for both listeners."""
        yield


def open_sockets(settings: IssuerSettings, environ: MutableMapping[str, str]) -> tuple[socket.socket, socket.socket]:
    """Return the public and the admin socket: inherited, or bound as the settings say.

    Raises:
        CommandError: one of them is not available.
    """
    try:
        inherited = take_inherited_sockets(environ, os.getpid())
    except InheritedSocketError as error:
        raise CommandError(str(error)) from error
    public = [found for name, found in inherited if name != ADMIN_NAME]
    admin = [found for name, found in inherited if name == ADMIN_NAME]
    if len(public) > 1 or len(admin) > 1:
        raise CommandError(f"{len(inherited)} sockets are inherited: pass one, and optionally one named {ADMIN_NAME}")
    if any(found.family not in (socket.AF_INET, socket.AF_INET6) for found in public + admin):
        raise CommandError("an inherited socket is not a TCP socket: give ListenStream= a port")
    return (
        _configured(public[0]) if public else bind(settings.host, settings.port),
        _configured(admin[0]) if admin else bind(settings.admin_host, settings.admin_port),
    )


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        CommandError: the listen address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return _configured(socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS))
    except OSError as error:
        # Use the system's text: the message of create_server repeats the listen address. Errors of the resolver have
        # negative numbers, for which the system has no text.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else "not an address of this machine"
        raise CommandError(f"cannot listen on {host} port {port}: {reason}") from error


def _configured(listener: socket.socket) -> socket.socket:
    # Accepted sockets inherit both.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    if sys.platform == "linux":
        # The process regards a response as sent when it is in the kernel's buffer. This option closes the connection
        # of a client that never reads it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, WRITE_SECONDS * 1000)
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the listen address, for the log."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def allow_connections() -> int:
    """Raise the limit of open files, usually 1,024; return how many connections a listener may have."""
    needed = 2 * MAX_CONNECTIONS + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = needed if hard < 0 else min(needed, hard)  # RLIM_INFINITY is -1
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(MAX_CONNECTIONS, (soft - _OTHER_DESCRIPTORS) // 2))


async def listen(public: Listener, admin: Listener) -> None:
    """Serve both listeners until a stop signal arrives."""

    def stop() -> None:
        notify(os.environ, "STOPPING=1")
        public.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(admin.serve())
        await public.serve()
        admin.should_exit = True
