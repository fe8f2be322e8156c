"""The subrequest server of the verifier in this process, on a real socket: with a test clock, or in a thread."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvloop

from shared.jwks import parse_jwks
from tests.support.raw_http import Response, bearer, parse, request
from tests.support.token_forge import AUDIENCE
from tests.support.vector_keys import GOOD
from tests.support.verifier_process import SubrequestListener, running_verifier
from verifier.decision.keyset import TrustedKeys
from verifier.metrics import Metrics
from verifier.policy_file import Issuer, parse_configuration
from verifier.subrequest.authorizer import Authorizer
from verifier.subrequest.decision_cache import DecisionCache
from verifier.subrequest.http_connection import Connection, SubrequestConnection
from verifier.subrequest.http_server import HttpServer


@dataclass
class ListeningServer:
    """A listening server and one connection to it."""

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
        """Let seconds pass, and run what is due."""
        for _ in range(seconds):
            self.server.expire_connections()
        await asyncio.sleep(0.02)

    async def response(self) -> Response:
        """Return the next response."""
        async with asyncio.timeout(5):
            (response,) = parse(await self.reader.readuntil(b"\r\n\r\n"))
            return response

    async def rest(self) -> list[int]:
        """Return the statuses until the server closes."""
        async with asyncio.timeout(5):
            return [response.status for response in parse(await self.reader.read())]

    async def fill(self) -> int:
        """Send requests without reading responses, until the server stops reading. Return the number of requests."""
        return await self._send_until(lambda connection: connection._write_paused, 100)

    async def fill_kernel_buffers(self) -> None:
        """Send requests without reading responses, until the server holds some that it cannot send."""
        await self._send_until(lambda connection: connection._transport.get_write_buffer_size() > 0, 10)

    async def _send_until(self, reached: Callable[[Connection], bool], at_once: int) -> int:
        cast("asyncio.Transport", self.writer.transport).pause_reading()
        sent = 0
        async with asyncio.timeout(10):
            while not any(map(reached, self.server.connections)):
                self.writer.write(request("/verify", self.token) * at_once)
                sent += at_once
                await asyncio.sleep(0.01)
        return sent

    def read_again(self) -> None:
        """Read again after `fill`."""
        cast("asyncio.Transport", self.writer.transport).resume_reading()

    @property
    def is_open(self) -> bool:
        return bool(self.server.connections) and not self.reader.at_eof()


@asynccontextmanager
async def listening_server(max_connections: int = 10, drain_seconds: int = 0) -> AsyncIterator[ListeningServer]:
    """Yield a server with one policy and one key, on a loopback port."""
    server, metrics = HttpServer(max_connections, drain_seconds), Metrics()
    connect = _new_connection(server, "", metrics, DecisionCache(0, 0))
    listener, client = socket.create_server(("127.0.0.1", 0)), socket.socket()
    # Small buffers, so that a client that does not read soon holds up the server.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening = await asyncio.get_running_loop().create_server(connect, sock=listener)
    client.connect(listener.getsockname())
    reader, writer = await asyncio.open_connection(sock=client)
    try:
        yield ListeningServer(server, reader, writer, bearer(GOOD.token(time.time())), metrics)
    finally:
        writer.transport.abort()
        listening.close()


@contextmanager
def running_listener(policies: str) -> Iterator[SubrequestListener]:
    """Yield the listener of a real verifier; in this process for `make mutants`, which cannot trace another one."""
    if os.environ.get("GATEPASS_TESTS_IN_PROCESS"):
        with _listening_thread(policies) as listener:
            yield listener
    else:
        with running_verifier(policies=policies) as process:
            yield process
            assert process.process.poll() is None, process.log()
            assert "Traceback" not in process.log()


@contextmanager
def _listening_thread(policies: str) -> Iterator[SubrequestListener]:
    server = HttpServer(max_connections=1000, drain_seconds=0)
    connect = _new_connection(server, policies, Metrics(), DecisionCache(10_000, 2**26))
    loop, stopping = uvloop.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        listening = await loop.create_server(connect, sock=listener)
        await stopping.wait()
        server.abort()
        listening.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        try:
            yield SubrequestListener(port=listener.getsockname()[1], forge=GOOD)
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join()
            loop.close()


def _new_connection(
    server: HttpServer, policies: str, metrics: Metrics, cache: DecisionCache
) -> Callable[[], SubrequestConnection]:
    rules = parse_configuration(
        policies, issuers={GOOD.issuer: Issuer(jwks_url="unused")}, audience=AUDIENCE, leeway_seconds=5
    )
    authorizer = Authorizer(rules, realm="gatepass", metrics=metrics, cache=cache)
    authorizer.replace_keys(TrustedKeys.from_issuers({GOOD.issuer: parse_jwks(GOOD.jwks)}))
    return partial(SubrequestConnection, server, authorizer)
