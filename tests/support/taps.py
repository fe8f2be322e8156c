"""A proxy between a gateway and its verifier that records the bytes of the gateway."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Tap:
    """The recorded bytes.

    Attributes:
        port: where the gateway connects.
        connections: the bytes that it sent on each connection.
    """

    port: int = 0
    connections: list[bytearray] = field(default_factory=list)

    @property
    def sent(self) -> bytes:
        """Return everything that the gateway sent."""
        return b"".join(self.connections)

    def clear(self) -> None:
        """Discard the records; open connections are recorded from their next byte on."""
        for kept in self.connections:
            kept.clear()


@contextmanager
def tapped(port: int) -> Iterator[Tap]:
    """Yield a tap before the server on a loopback port."""
    tap, listens = Tap(), threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        ends.append((asyncio.get_running_loop(), stop))
        server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
        tap.port = server.sockets[0].getsockname()[1]
        listens.set()
        await stop.wait()
        server.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = bytearray()
        tap.connections.append(kept)
        # Cancelled when the tap ends, which is no failure.
        with suppress(asyncio.CancelledError):
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, there_writer, kept), _copy(there_reader, writer, bytearray()))

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    listens.wait()
    try:
        yield tap
    finally:
        loop, stop = ends[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
