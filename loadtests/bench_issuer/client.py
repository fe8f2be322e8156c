"""The load: many kept-alive HTTP/1.1 connections from one process, as cheap as Python can make them.

Each connection has its own loopback address, so that rate limits for one IP address do not apply to all of them
together. Closed loops send after each response. An open loop sends at its rate even if responses are late, and
measures times from the moment at which a request was due.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, cast

from loadtests.processes import InvalidRunError

_RESPONSE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Response:
    """Status and body of one response, and the seconds until it arrived."""

    status: int
    body: bytes
    seconds: float


@dataclass(slots=True)
class Sample:
    """The responses to a stretch of load."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    def add(self, response: Response) -> None:
        """Count one response."""
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        self.waits.append(response.seconds)

    def rate(self, status: int = 200) -> float:
        """Return the responses of that status per second."""
        return self.statuses.get(status, 0) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the seconds that `share` (0 to 1) of the responses took at most."""
        if not self.waits:
            raise InvalidRunError("there was no response")
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._response: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, number: int) -> Self:
        """Connect from the loopback address with that number."""
        source = f"127.0.{1 + number // 250 % 200}.{1 + number % 250}"
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port, local_addr=(source, 0))
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending request."""
        if self._response is not None and not self._response.done():
            self._response.set_exception(exc or ConnectionResetError("closed by the issuer"))

    def data_received(self, data: bytes) -> None:
        """Parse a part of a response."""
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(body) >= length and self._response is not None and not self._response.done():
            self._received.clear()
            self._response.set_result((int(head[9:12]), bytes(body)))

    async def send(self, request: bytes, since: float | None = None) -> Response:
        """Send `request` and wait for its response; waiting is measured from `since` (monotonic), or from now."""
        assert self._transport is not None
        started = time.monotonic() if since is None else since
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status, body = await asyncio.wait_for(self._response, _RESPONSE_SECONDS)
        return Response(status, body, time.monotonic() - started)

    def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()


Step = Callable[[Connection], Awaitable[Response]]
"""One operation over a connection."""


async def closed_loops(port: int, loops: Sequence[Step], seconds: float, warm_up: float = 1.0) -> Sample:
    """Run each of `loops` repeatedly on its own connection, for `seconds` after the warm-up."""
    sample = Sample()
    counted_from = time.monotonic() + warm_up
    until = counted_from + seconds

    async def repeat(number: int, send: Step) -> None:
        connection = await Connection.open(port, number)
        try:
            while time.monotonic() < until:
                response = await send(connection)
                if counted_from <= time.monotonic() < until:
                    sample.add(response)
        finally:
            connection.close()

    await asyncio.gather(*(repeat(number, send) for number, send in enumerate(loops)))
    sample.seconds = seconds
    if not sample.waits:
        raise InvalidRunError("there was no response")
    return sample


async def open_loop(port: int, next_request: Callable[[], bytes], rate: float, seconds: float) -> Sample:
    """Send `rate` requests a second for `seconds`, on as many connections as that takes; wait for every response.

    The sample's time ends with the last response: queued requests get theirs after the last request was sent.
    """
    sample = Sample()
    idle: deque[Connection] = deque()
    opened = 0

    async def send(due: float) -> None:
        nonlocal opened
        if idle:
            connection = idle.popleft()
        else:
            opened += 1
            connection = await Connection.open(port, opened)
        sample.add(await connection.send(next_request(), due))
        idle.append(connection)

    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = started + number / rate
            with contextlib.suppress(ValueError):
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(send(due))
    sample.seconds = time.monotonic() - started
    for connection in idle:
        connection.close()
    return sample
