"""Accepts the waiting connections of a listening socket, many in each turn of the event loop.

The event loop's own server accepts one in each turn. In a burst a turn takes milliseconds, and the last of 2,500
clients that connected together waited for 5 to 15 s.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

_ACCEPTED_PER_TURN: Final = 128
_PAUSE_SECONDS: Final = 0.2
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts until it is closed. Has what uvicorn asks of its servers.

    Args:
        listening: the socket; its opener closes it.
        connect: returns the protocol of a new connection.
    """

    def __init__(self, listening: socket.socket, connect: Callable[[], asyncio.BaseProtocol]) -> None:
        self._listening, self._connect = listening, connect
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._resume()

    def close(self) -> None:
        """Accept no more connections."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening)

    async def wait_closed(self) -> None:
        """Wait for connections that are being opened."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _resume(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                accepted, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                # The socket stays readable: without a pause the event loop would spin until a connection ends.
                self._loop.remove_reader(self._listening)
                self._pause = self._loop.call_later(_PAUSE_SECONDS, self._resume)
                return
            self._open(accepted)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._loop.connect_accepted_socket(self._connect, accepted))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
