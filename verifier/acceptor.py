"""Takes connections off a listening socket, as many at a time as there are, but leaves the other workers their share.

The event loop's own server takes one in each turn, and a busy turn is long: of 1,000 gateways that connected
at once, the last waited for most of a second. Taking all, the worker that woke first had them all for as long as
they lived, and the others nothing to do.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

ACCEPTS_PER_TURN: Final = 256
_PAUSE_SECONDS: Final = 0.2
_COURTESY_SECONDS: Final = 0.001
"""Long enough for a worker that sleeps to wake up, too short to be felt if it hangs."""

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts until it is closed; of `asyncio.Server`, what uvicorn asks of its servers.

    Args:
        listener: bound and listening; whoever stops the acceptor closes it.
        connect: makes the protocol of a connection.
        is_ahead: whether we have more than our share of connections, given how many are being opened.
    """

    def __init__(
        self, listener: socket.socket, connect: Callable[[], asyncio.Protocol], is_ahead: Callable[[int], bool]
    ) -> None:
        self._listener, self._connect, self._is_ahead = listener, connect, is_ahead
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._resuming: asyncio.TimerHandle | None = None
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._resume()

    def close(self) -> None:
        """Take no more connections."""
        if self._resuming is not None:
            self._resuming.cancel()
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
                # Asking again at once would spin. Who waits, waits in the backlog.
                self._look_away(_PAUSE_SECONDS)
                return
            self._open(accepted)
            if self._is_ahead(len(self._opening)):
                self._look_away(_COURTESY_SECONDS)
                return

    def _look_away(self, seconds: float) -> None:
        """The socket stays readable, and would bring us back at once."""
        self._loop.remove_reader(self._listener)
        self._resuming = self._loop.call_later(seconds, self._resume)

    def _open(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)  # noqa: FBT003 - the standard library's signature
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._loop.connect_accepted_socket(self._connect, accepted))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)


def has_more_than_its_share(ours: int, fewest_elsewhere: int | None) -> bool:
    """Whether the next connection should be another worker's: a few more than the one that has fewest are fair.

    A quarter more, so that 1,000 connections that come at once are shared out in some tens of turns.
    """
    return fewest_elsewhere is not None and ours > fewest_elsewhere + 1 + fewest_elsewhere // 4
