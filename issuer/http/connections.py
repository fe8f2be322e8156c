"""The open connections of a listener, and limits on their number, duration and memory.

`protocol.py` parses HTTP. Every limit on a connection is in this module or in that one.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import chain
from typing import Final, cast

from issuer.throttling.client_ip import client_ip, network_of

MAX_CONNECTIONS: Final = 4096
"""Large, since every request that waits for a password hash holds a connection."""

WRITE_SECONDS: Final = 20
"""Time in which a client must read one response: in total, not per write."""

READ_BYTES: Final = 16 * 1024
"""Maximum size of one read from a socket, and so of the input that is stored until a response has been sent."""

MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Incomplete bodies and unread responses of all connections together, without the kernel's buffers (see `bind`)."""

_STARTED_PER_ITERATION: Final = 4
"""Requests of each queue that start in one iteration of the event loop, before it accepts and reads again."""


class Phase(IntEnum):
    """Phases of a connection."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    QUEUED = 3
    PROCESSING = 4
    SENDING = 5
    CLOSING = 6


_SECONDS: Final = {Phase.IDLE: 75, Phase.HEAD: 10, Phase.BODY: 30, Phase.SENDING: WRITE_SECONDS, Phase.CLOSING: 2}
"""Maximum duration of each phase. For PROCESSING, the timeouts of the database and the hash queue apply."""


class Connections:
    """Every open connection of one listener, grouped by client network.

    Args:
        maximum: number of connections. A further one replaces the least recently used one of the largest network.
        dropped: called with the reason when a connection is closed because of a limit.
        max_held_bytes: of incomplete bodies and unread responses. Above it, the connection that has held bytes for
            the longest time is dropped.
    """

    def __init__(
        self,
        maximum: int = MAX_CONNECTIONS,
        dropped: Callable[[str], object] = lambda _reason: None,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        self.now = 0  # in seconds: the number of ticks
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.dropped = dropped
        self._maximum, self._max_held_bytes = maximum, max_held_bytes
        # The least recently used first.
        self._networks: dict[str, OrderedDict[Connection, None]] = {}
        self._count = 0
        self._held: OrderedDict[Connection, int] = OrderedDict()
        self._held_bytes = 0
        self._cheap = _StartQueue()
        self._others = _StartQueue()
        self._iteration_scheduled = False

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator["Connection"]:
        return chain.from_iterable(self._networks.values())

    def add(self, connection: "Connection") -> bool:
        """Register `connection`. Return False if it must be rejected, since there are too many."""
        network = self._networks.setdefault(connection.network, OrderedDict())
        network[connection] = None
        self._count += 1
        while self._count > self._maximum:
            victim = self._victim(len(network), connection)
            if victim is None:
                return False
            victim.drop("evicted")
        return True

    def remove(self, connection: "Connection") -> None:
        """Remove a closed connection."""
        network = self._networks.get(connection.network, OrderedDict())
        if connection in network:
            del network[connection]
            self._count -= 1
            if not network:
                del self._networks[connection.network]
        self.hold(connection, 0)

    def use(self, connection: "Connection") -> None:
        """Mark `connection` as the most recently used."""
        self._networks[connection.network].move_to_end(connection)

    def hold(self, connection: "Connection", size: int) -> None:
        """Set the number of bytes that `connection` holds while it waits for its client."""
        self._held_bytes += size - self._held.get(connection, 0)
        if size:
            self._held[connection] = size
        else:
            self._held.pop(connection, None)
        while self._held_bytes > self._max_held_bytes:
            next(iter(self._held)).drop("held_bytes")

    def queue(self, start: Callable[[], None], *, cheap: bool) -> None:
        """Call `start`, now or in a later iteration of the event loop, which a burst of requests must not block.

        `cheap` requests have a queue of their own, so that they do not wait for the others.
        """
        (self._cheap if cheap else self._others).add(start)
        if not self._iteration_scheduled:
            self._iteration_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_queued)

    def tick(self) -> None:
        """Drop connections whose phase has lasted too long. Called once a second."""
        self.now += 1
        for connection in list(self):
            connection.expire(self.now)

    def _start_queued(self) -> None:
        started = self._cheap.start_next() + self._others.start_next()
        self._iteration_scheduled = started > 0
        if self._iteration_scheduled:
            asyncio.get_running_loop().call_soon(self._start_queued)

    def _victim(self, own: int, new: "Connection") -> "Connection | None":
        """Return the least recently used connection whose request, if it has one, is not being processed yet.

        It is one of the network with the most connections. Networks with fewer connections than `own`, the number in
        the network of `new`, lose none.
        """
        for network in sorted(self._networks.values(), key=len, reverse=True):
            if len(network) < own:
                return None
            for connection in network:
                if connection.phase is not Phase.PROCESSING and connection is not new:
                    return connection
        return None


class _StartQueue:
    """Requests of one kind that wait to start."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._started = 0

    def add(self, start: Callable[[], None]) -> None:
        """Start now, if nothing waits and this iteration has started few; else later."""
        if not self._waiting and self._started < _STARTED_PER_ITERATION:
            self._started += 1
            start()
        else:
            self._waiting.append(start)

    def start_next(self) -> int:
        """Start the next requests, in a new iteration of the event loop; return how many."""
        self._started = min(_STARTED_PER_ITERATION, len(self._waiting))
        for _ in range(self._started):
            self._waiting.popleft()()
        return self._started


class Connection(asyncio.BufferedProtocol):
    """One connection: its phase, its deadline, its input and output. Subclasses implement the protocol."""

    transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self.connections: Final = connections
        self.network = ""
        self.phase = Phase.HEAD
        self._phase_started_at = connections.now
        self._ahead = b""
        self._resumes = False
        self._write_paused = False
        self._closes = self._lingers = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register a new connection (asyncio)."""
        self.transport = cast("asyncio.Transport", transport)
        # With 0, asyncio calls `pause_writing` as soon as the kernel's buffer is full.
        self.transport.set_write_buffer_limits(high=0)
        ip = client_ip((transport.get_extra_info("peername") or ("",))[0], (), 0)
        self.network = network_of(ip) if ip else ""
        if not self.connections.add(self):
            self.connections.dropped("rejected")
            self.reject_connection()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection (asyncio)."""
        del exc
        self.connections.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that all connections share; input is copied out of it at once (asyncio)."""
        del sizehint
        return self.connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Process input, or store it until the previous response has been sent (asyncio)."""
        data = self.connections.buffer[:nbytes].tobytes()
        if self.phase in (Phase.IDLE, Phase.HEAD, Phase.BODY) and not self._ahead:
            self.received(data)
        else:
            self.keep(data)

    def pause_writing(self) -> None:
        """Note that the kernel's buffer is full (asyncio)."""
        self._write_paused = True
        self.connections.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that the output was written (asyncio)."""
        self._write_paused = False
        self.connections.hold(self, 0)
        if self.phase is Phase.SENDING:
            self._sent()

    def enter(self, phase: Phase) -> None:
        """Enter `phase`, and start to measure its duration."""
        self.phase = phase
        self._phase_started_at = self.connections.now
        if phase is not Phase.CLOSING:
            self.connections.use(self)

    def expire(self, now: int) -> None:
        """Drop the connection if its phase has lasted too long; `now` in seconds."""
        if now - self._phase_started_at <= _SECONDS.get(self.phase, now):
            return
        if self.phase in (Phase.IDLE, Phase.CLOSING):
            self.transport.abort()
        else:
            self.drop(f"{self.phase.name.lower()}_timeout")

    def drop(self, reason: str) -> None:
        """Close at once and discard unsent output."""
        self.phase = Phase.CLOSING
        self.connections.dropped(reason)
        self.connections.remove(self)
        self.transport.abort()

    def send(self, *pieces: bytes, closes: bool = False, lingers: bool = False) -> None:
        """Send one response.

        Args:
            pieces: the parts of the response.
            closes: close the connection afterwards.
            lingers: discard input for a while before closing. Otherwise a reset could overtake the response.
        """
        self._closes, self._lingers = closes, lingers
        self.enter(Phase.SENDING)
        self.transport.writelines(pieces)
        if not self._write_paused:
            self._sent()

    def keep(self, data: bytes) -> None:
        """Store input until the current response has been sent, and stop reading until then."""
        if self.phase is not Phase.CLOSING:
            self._ahead += data
            self.transport.pause_reading()

    def resume(self) -> None:
        """Process the stored input."""
        if self.phase is not Phase.IDLE or self.transport.is_closing():
            return
        data, self._ahead = self._ahead, b""
        self._resumes = True
        self.received(data)
        self._resumes = False
        if not self._ahead:
            self.transport.resume_reading()

    def received(self, data: bytes) -> None:
        """Process input while no response is being sent."""
        raise NotImplementedError

    def reject_connection(self) -> None:
        """Send 503, since there are too many connections, and close."""
        raise NotImplementedError

    def _sent(self) -> None:
        if not self._closes:
            self.enter(Phase.IDLE)
            if self._ahead:
                self.connections.queue(self.resume, cheap=False)
            return
        self.enter(Phase.CLOSING)
        if self._lingers:
            self.transport.write_eof()
            self.transport.resume_reading()
        else:
            self.transport.close()
