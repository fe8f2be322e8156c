"""The front of the verifier in this process, on a real socket: for what only its own clock and turns can show."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.jwks import parse_jwks
from tests.support.raw_http import Answer, bearer, parse
from tests.support.token_forge import AUDIENCE, Forge
from verifier.cache import DecisionCache
from verifier.decider import Decider
from verifier.keyset import KeySet
from verifier.metrics import Page, Pages
from verifier.policies import JwksSource, parse_rules
from verifier.protocol import Connection, Front


@dataclass
class ListeningFront:
    """A front that listens, and one connection to it."""

    front: Front
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str
    page: Page

    async def send(self, data: bytes) -> None:
        """Until the front has taken it."""
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0.02)

    async def tick(self, seconds: int) -> None:
        """Let so many seconds pass, and what follows from it happen."""
        for _ in range(seconds):
            self.front.tick()
        await asyncio.sleep(0.02)

    async def answer(self) -> Answer:
        """The next answer."""
        async with asyncio.timeout(5):
            (answer,) = parse(await self.reader.readuntil(b"\r\n\r\n"))
            return answer

    async def rest(self) -> list[int]:
        """Statuses until the front closes."""
        async with asyncio.timeout(5):
            return [answer.status for answer in parse(await self.reader.read())]

    @property
    def is_open(self) -> bool:
        return bool(self.front.connections) and not self.reader.at_eof()


@asynccontextmanager
async def listening_front(cache: DecisionCache | None = None) -> AsyncIterator[ListeningFront]:
    """A front with one policy and one key, on a loopback port."""
    forge = Forge()
    rules = parse_rules("", sources={forge.issuer: JwksSource(url="unused")}, audience=AUDIENCE, leeway_seconds=5)
    page = Pages(1)[0]
    decider = Decider(rules, realm="gatepass", page=page, cache=cache)
    decider.replace_keys(KeySet.of({forge.issuer: parse_jwks(forge.jwks)}))
    front = Front(decider, max_connections=10, drain_seconds=0)
    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(lambda: Connection(front), sock=listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield ListeningFront(front, reader, writer, bearer(forge.token(time.time())), page)
    finally:
        writer.transport.abort()
        server.close()
