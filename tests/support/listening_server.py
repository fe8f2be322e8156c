"""The subrequest server of the verifier in this process, on a real socket, with its clock in the hands of a test."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.jwks import parse_jwks
from tests.support.raw_http import Answer, bearer, parse
from tests.support.token_forge import AUDIENCE, Forge
from verifier.decision.keyset import TrustedKeys
from verifier.metrics import Metrics
from verifier.policy_file import JwksLocation, parse_configuration
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.decision_cache import DecisionCache
from verifier.subrequest.http_connection import SubrequestConnection
from verifier.subrequest.http_server import HttpServer


@dataclass
class ListeningServer:
    """A server that listens, and one connection to it."""

    server: HttpServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str
    metrics: Metrics

    async def send(self, data: bytes) -> None:
        """Send, and give the server time to read it."""
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0.02)

    async def tick(self, seconds: int) -> None:
        """Let so many seconds pass, and what follows from it happen."""
        for _ in range(seconds):
            self.server.expire_connections()
        await asyncio.sleep(0.02)

    async def answer(self) -> Answer:
        """Return the next response."""
        async with asyncio.timeout(5):
            (answer,) = parse(await self.reader.readuntil(b"\r\n\r\n"))
            return answer

    async def rest(self) -> list[int]:
        """Statuses until the server closes."""
        async with asyncio.timeout(5):
            return [response.status for response in parse(await self.reader.read())]

    @property
    def is_open(self) -> bool:
        return bool(self.server.connections) and not self.reader.at_eof()


@asynccontextmanager
async def listening_server() -> AsyncIterator[ListeningServer]:
    """A server with one policy and one key, on a loopback port."""
    forge = Forge()
    rules = parse_configuration(
        "", sources={forge.issuer: JwksLocation(url="unused")}, audience=AUDIENCE, leeway_seconds=5
    )
    metrics = Metrics()
    authorizer = Authorizer(rules, realm="gatepass", metrics=metrics, cache=DecisionCache(0, 0))
    authorizer.replace_keys(TrustedKeys.from_issuers({forge.issuer: parse_jwks(forge.jwks)}))
    server = HttpServer(lambda server: SubrequestConnection(server, authorizer), max_connections=10, drain_seconds=0)
    listener = socket.create_server(("127.0.0.1", 0))
    listening = await asyncio.get_running_loop().create_server(server.connect, sock=listener)
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        yield ListeningServer(server, reader, writer, bearer(forge.token(time.time())), metrics)
    finally:
        writer.transport.abort()
        listening.close()
