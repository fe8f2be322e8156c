"""A steady load of subrequests over kept-alive connections; no request is sent twice."""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.support.processes import wait_until
from tests.support.raw_http import parse

_TIMEOUT_SECONDS: Final = 30.0
"""More than a verifier needs to start on a busy machine: connections wait meanwhile in an inherited socket."""


@dataclass
class Load:
    """The outcomes of the requests.

    Attributes:
        lost: requests without a response.
        announced: connections whose last response had `Connection: close`.
        refused: connections that could not be opened.
    """

    port: int
    request: bytes
    connections: int
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    announced: int = 0
    refused: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, further: int) -> None:
        """Wait for `count` further responses."""
        enough = self.responses + further
        wait_until(lambda: self.responses > enough, "the load has started")

    @property
    def responses(self) -> int:
        return self.statuses.total()

    @contextmanager
    def running(self, *, reconnect: bool) -> Iterator["Load"]:
        """Run in a thread until the block ends; with `reconnect`, open another connection for each that ends."""
        thread = threading.Thread(target=lambda: asyncio.run(self._run(reconnect=reconnect)))
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join()

    async def _run(self, *, reconnect: bool) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._keep_asking(reconnect=reconnect))

    async def _keep_asking(self, *, reconnect: bool) -> None:
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except (OSError, TimeoutError):
                self.refused += 1
                await asyncio.sleep(0.01)
            else:
                with contextlib.closing(writer):
                    await self._use(reader, writer)
            if not reconnect:
                return

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._stopping.is_set():
            writer.write(self.request)
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    (response,) = parse(await reader.readuntil(b"\r\n\r\n"))
            except (OSError, EOFError, TimeoutError):
                self.lost += 1
                return
            self.statuses[response.status] += 1
            if response.closes:
                self.announced += 1
                return
            # A moment for the others: a load that takes the whole processor tests nothing but it.
            await asyncio.sleep(0.001)
