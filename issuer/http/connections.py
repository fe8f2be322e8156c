"""The open connections of a listener: how many, for how long, and how much unread output they may hold.

Knows nothing of HTTP: `protocol.py` parses. Every limit on a connection is in this module or in that one.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from enum import IntEnum
from itertools import chain
from typing import Final, cast

from issuer.throttling.client_ip import client_ip, network_of

MAX_CONNECTIONS: Final = 4096
"""A request that waits for a password hash holds one: a thousand people who log in together need many."""

WRITE_SECONDS: Final = 20
"""For one response to be taken by the client: in all, not for each byte."""

READ_BYTES: Final = 16 * 1024
"""Read from a socket at once, and so the most that is held of requests that a client sends ahead."""

MAX_HELD_BYTES: Final = 32 * 1024 * 1024
"""Incomplete bodies and unread responses, over all connections. What the kernel holds comes on top (`bind`)."""

_STARTED_PER_TURN: Final = 4
"""Requests of either queue that start in one turn of the event loop, so that it comes back to accept and to read."""


class Phase(IntEnum):
    """Phases of a connection."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    QUEUED = 3
    ANSWERING = 4
    SENDING = 5
    CLOSING = 6


_SECONDS: Final = {Phase.IDLE: 75, Phase.HEAD: 10, Phase.BODY: 30, Phase.SENDING: WRITE_SECONDS, Phase.CLOSING: 2}
"""Longest duration of each phase. A request that is being answered has the deadlines of what it waits for."""


class Connections:
    """Every open connection of one listener, grouped by client network.

    Args:
        maximum: one more takes the place of the least recently used connection of the network that has most.
        dropped: told the reason whenever a connection is closed for breaking a limit.
        max_held_bytes: of incomplete bodies and unread responses; above, who has held some longest is dropped.
    """

    def __init__(
        self,
        maximum: int = MAX_CONNECTIONS,
        dropped: Callable[[str], object] = lambda _reason: None,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        self.now = 0
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
        self._turn_scheduled = False

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator["Connection"]:
        return chain.from_iterable(self._networks.values())

    def add(self, connection: "Connection") -> bool:
        """Register `connection`; whether it may be served. If not, it is only to be told so."""
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
        """Forget a connection that is closed."""
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
        """Count the bytes that `connection` holds until its client has sent or taken more."""
        self._held_bytes += size - self._held.get(connection, 0)
        if size:
            self._held[connection] = size
        else:
            self._held.pop(connection, None)
        while self._held_bytes > self._max_held_bytes:
            next(iter(self._held)).drop("held_bytes")

    def queue(self, start: Callable[[], None], *, cheap: bool) -> None:
        """Call `start`, now or in a later turn, so that a burst does not keep the event loop from everyone else."""
        (self._cheap if cheap else self._others).add(start)
        if not self._turn_scheduled:
            self._turn_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def tick(self) -> None:
        """Drop connections whose phase has lasted too long. Called once a second."""
        self.now += 1
        for connection in list(self):
            connection.expire(self.now)

    def _turn(self) -> None:
        started = self._cheap.turn() + self._others.turn()
        self._turn_scheduled = started > 0
        if self._turn_scheduled:
            asyncio.get_running_loop().call_soon(self._turn)

    def _victim(self, own: int, newcomer: "Connection") -> "Connection | None":
        """Return the least recently used connection whose request, if it has one, is not being answered yet.

        The network that has most loses it, and never one that has fewer than `own`, the network of the newcomer.
        """
        for network in sorted(self._networks.values(), key=len, reverse=True):
            if len(network) < own:
                return None
            for connection in network:
                if connection.phase is not Phase.ANSWERING and connection is not newcomer:
                    return connection
        return None


class _StartQueue:
    """Requests of one kind that wait to start."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._started = 0

    def add(self, start: Callable[[], None]) -> None:
        """Start now, if nothing waits and this turn has started few; else later."""
        if not self._waiting and self._started < _STARTED_PER_TURN:
            self._started += 1
            start()
        else:
            self._waiting.append(start)

    def turn(self) -> int:
        """Begin a turn of the event loop; return how many were started."""
        self._started = min(_STARTED_PER_TURN, len(self._waiting))
        for _ in range(self._started):
            self._waiting.popleft()()
        return self._started


class Connection(asyncio.BufferedProtocol):
    """One connection: its phase, its deadline, its input and output. What it means is a subclass's."""

    transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self.connections: Final = connections
        self.network = ""
        self.phase = Phase.HEAD
        self._since = connections.now
        self._ahead = b""
        self._resumes = False
        self._write_paused = False
        self._closes = self._lingers = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register a new connection (asyncio)."""
        self.transport = cast("asyncio.Transport", transport)
        # `pause_writing` is called as soon as the kernel takes no more.
        self.transport.set_write_buffer_limits(high=0)
        address = client_ip((transport.get_extra_info("peername") or ("",))[0], (), 0)
        self.network = network_of(address)[0] if address else ""
        if not self.connections.add(self):
            self.connections.dropped("rejected")
            self.refuse_service()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection (asyncio)."""
        del exc
        self.connections.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that all connections share: what is read is copied out of it at once (asyncio)."""
        del sizehint
        return self.connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand on what was read, or keep it until the response before it has been sent (asyncio)."""
        data = self.connections.buffer[:nbytes].tobytes()
        if self.phase in (Phase.IDLE, Phase.HEAD, Phase.BODY) and not self._ahead:
            self.received(data)
        else:
            self.keep(data)

    def pause_writing(self) -> None:
        """Note that the client takes no more for now (asyncio)."""
        self._write_paused = True
        self.connections.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that the client has taken everything (asyncio)."""
        self._write_paused = False
        self.connections.hold(self, 0)
        if self.phase is Phase.SENDING:
            self._sent()

    def enter(self, phase: Phase) -> None:
        """Begin `phase`, and its time."""
        self.phase = phase
        self._since = self.connections.now
        if phase is not Phase.CLOSING:
            self.connections.use(self)

    def expire(self, now: int) -> None:
        """Drop the connection if its phase has lasted too long; `now` in seconds."""
        if now - self._since <= _SECONDS.get(self.phase, now):
            return
        if self.phase in (Phase.IDLE, Phase.CLOSING):
            self.transport.abort()
        else:
            self.drop(f"{self.phase.name.lower()}_timeout")

    def drop(self, reason: str) -> None:
        """Close at once, unsent output included."""
        self.phase = Phase.CLOSING
        self.connections.dropped(reason)
        self.connections.remove(self)
        self.transport.abort()

    def send(self, *pieces: bytes, closes: bool = False, lingers: bool = False) -> None:
        """Send one response.

        Args:
            pieces: of the response.
            closes: close the connection after it.
            lingers: then discard what the client still sends for a while: a reset must not overtake the response.
        """
        self._closes, self._lingers = closes, lingers
        self.enter(Phase.SENDING)
        self.transport.writelines(pieces)
        if not self._write_paused:
            self._sent()

    def keep(self, data: bytes) -> None:
        """Keep input for later, and read no more until then."""
        if self.phase is not Phase.CLOSING:
            self._ahead += data
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on with the input that was kept."""
        if self.phase is not Phase.IDLE or self.transport.is_closing():
            return
        data, self._ahead = self._ahead, b""
        self._resumes = True
        self.received(data)
        self._resumes = False
        if not self._ahead:
            self.transport.resume_reading()

    def received(self, data: bytes) -> None:
        """Take input, while no response is under way."""
        raise NotImplementedError

    def refuse_service(self) -> None:
        """Tell the client that there are too many connections, and close."""
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
