"""Accepts the waiting connections of a listening socket, several in each iteration of the event loop.

The event loop's own server accepts one per iteration, and a busy iteration is long: of 1,000 gateways that
connected at once, the last waited for most of a second (specs/adr/0026).
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

ACCEPT_BATCH: Final = 64
"""Maximum number of connections accepted at once, so that processes that share a socket share its connections."""

_EXHAUSTION_BACKOFF_SECONDS: Final = 0.2
_RESOURCE_ERRNOS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """A listener that accepts connections until it is closed.

    Args:
        listener: bound and listening; it may be shared with other processes.
        protocol_factory: creates the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, protocol_factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listener, self._protocol_factory = listener, protocol_factory
        self._loop = asyncio.get_running_loop()
        self._pending: set[asyncio.Task[object]] = set()
        self._resume_timer: asyncio.TimerHandle | None = None
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._resume()

    def close(self) -> None:
        """Accept no more, and close the socket."""
        if self._resume_timer is not None:
            self._resume_timer.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    async def wait_closed(self) -> None:
        """Wait for the connections that are being set up."""
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                accepted, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _RESOURCE_ERRNOS:
                    raise
                # The socket stays readable, so trying again at once would spin. Connections wait in the backlog.
                self._loop.remove_reader(self._listener)
                self._resume_timer = self._loop.call_later(_EXHAUSTION_BACKOFF_SECONDS, self._resume)
                return
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol_factory, accepted))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
