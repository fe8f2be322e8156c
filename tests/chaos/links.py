"""Links between the processes of the site: TCP proxies that can drop, delay and corrupt data."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Final

_CHUNK_BYTES: Final = 65536
SLOW_SECONDS: Final = 0.1
"""Delay of each chunk in each direction. One round trip takes half of a gateway's timeout for its verifier."""

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class State(StrEnum):
    """The state of a link."""

    OPEN = "open"
    CUT = "cut"
    """connections are reset"""
    SILENT = "silent"
    """connections stay open, and nothing passes"""
    SLOW = "slow"
    CORRUPT = "corrupt"
    """one bit of each chunk is flipped"""


class Link:
    """A proxy on a loopback port.

    Args:
        connects: how to connect to each server behind it. One is chosen at random; if it cannot be reached, the next.
        rng: chooses servers and flipped bits.
    """

    def __init__(self, name: str, port: int, connects: Sequence[Connect], rng: random.Random) -> None:
        self.name = name
        self.port = port
        self.state = State.OPEN
        self._connects, self._rng = connects, rng
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen until the end of the block, and close every connection then."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield
        finally:
            server.close()
            self.set(State.CUT)
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def set(self, state: State) -> None:
        """Set what happens to data, also on open connections."""
        self.state = state
        if state is State.SILENT:
            self._flowing.clear()
        else:
            self._flowing.set()
        if state is State.CUT:
            for writer in self._writers:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self.state is State.CUT:
                return
            there_reader, there = await self._connect()
            self._writers.add(there)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, there))
                group.create_task(self._pump(there_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, there):
                if one is not None:
                    self._writers.discard(one)
                    one.close()
                    with suppress(OSError):
                        await one.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for connect in self._rng.sample(self._connects, len(self._connects)):
            with suppress(OSError):
                return await connect()
        raise ConnectionRefusedError

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._flowing.wait()
            if self.state is State.SLOW:
                await asyncio.sleep(SLOW_SECONDS)
            if self.state is State.CORRUPT:
                data = self._corrupted(data)
            writer.write(data)
            await writer.drain()
        # Sends what is buffered first. Closing also ends the other direction.
        writer.close()

    def _corrupted(self, data: bytes) -> bytes:
        position, bit = self._rng.randrange(len(data)), 1 << self._rng.randrange(8)
        return data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]


def tcp(port: int) -> Connect:
    """Connect to a loopback port."""
    return lambda: asyncio.open_connection("127.0.0.1", port)


def unix(path: str) -> Connect:
    """Connect to a UNIX socket."""
    return lambda: asyncio.open_unix_connection(path)
