"""Takes connections off a listening socket, as many at a time as there are.

The event loop's own server takes one in each turn, and a busy turn is long: of 1,000 gateways that connected
at once, the last waited for most of a second.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

ACCEPTS_PER_TURN: Final = 256
_PAUSE_SECONDS: Final = 0.2
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts until it is closed; of `asyncio.Server`, what uvicorn asks of its servers.

    Args:
        listener: bound and listening; whoever stops the acceptor closes it.
        connect: makes the protocol of a connection.
    """

    def __init__(self, listener: socket.socket, connect: Callable[[], asyncio.Protocol]) -> None:
        self._listener, self._connect = listener, connect
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._resume()

    def close(self) -> None:
        """Take no more connections."""
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Return when connections that were being opened are."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _resume(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                # The socket stays readable: asking again at once would spin. Who waits, waits in the backlog.
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._loop.connect_accepted_socket(self._connect, accepted))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
