"""The issuer's HTTP connections in this process, on a real socket, with a test clock."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from issuer.http.connections import Connections
from issuer.http.protocol import HttpConnection

_SMALL_BUFFER = 4096


@dataclass
class ListeningIssuer:
    """An issuer's connections on a loopback port, before an application that echoes each request.

    Attributes:
        requests: those that reached the application: method, path, and body.
        dropped: why connections were dropped.
        gate: the application responds while this is set.
        response_bytes: padding of its responses.
    """

    connections: Connections
    port: int
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    response_bytes: int = 0
    clients: list[socket.socket] = field(default_factory=list)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        self.requests.append((scope["method"], scope["path"], body))
        await self.gate.wait()
        results = {
            "path": scope["path"],
            "body": body.decode("latin-1"),
            "too_large": scope["state"]["body_too_large"],
        }
        content = json.dumps(results).encode() + b" " * self.response_bytes
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": content})

    async def connect(self, source: str = "127.0.0.1") -> "Client":
        """Connect from an address of the loopback network, with a small receive buffer."""
        raw = socket.socket()
        self.clients.append(raw)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.bind((source, 0))
        raw.setblocking(False)  # noqa: FBT003 - the standard library's signature
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        await asyncio.sleep(0.02)
        return Client(raw)

    async def tick(self, seconds: int) -> None:
        """Let seconds pass, and run what is due."""
        for _ in range(seconds):
            self.connections.tick()
        await asyncio.sleep(0.02)


@dataclass
class Client:
    """A client of a `ListeningIssuer` that reads only on demand."""

    raw: socket.socket
    received: bytes = b""

    async def send(self, *pieces: bytes) -> None:
        """Send each piece as one packet, unless the connection is closed."""
        for piece in pieces:
            with suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(self.raw, piece)
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)

    async def head(self) -> bytes:
        """Read the next head."""
        while b"\r\n\r\n" not in self.received:
            assert await self._receive(), f"closed after {self.received!r}"
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        return head

    async def echoed(self) -> dict[str, Any]:
        """Read the next response; return the request that it echoes."""
        length = int((await self.head()).lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(self.received) < length:
            assert await self._receive(), "closed within a body"
        body, self.received = self.received[:length], self.received[length:]
        echoed: dict[str, Any] = json.loads(body)
        return echoed

    async def rest(self) -> bytes:
        """Read until the issuer closes the connection; fail if it does not."""
        while await self._receive():
            pass
        return self.received

    async def is_open(self) -> bool:
        """Return whether the connection is open; reads what has arrived."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                while await self._receive():
                    pass
            return False
        return True

    async def _receive(self) -> bool:
        async with asyncio.timeout(5):
            try:
                data = await asyncio.get_running_loop().sock_recv(self.raw, 65536)
            except ConnectionResetError:
                data = b""
        self.received += data
        return bool(data)


@asynccontextmanager
async def listening_issuer(maximum: int = 100, max_held_bytes: int = 1024 * 1024) -> AsyncIterator[ListeningIssuer]:
    """Serve on a loopback port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_BUFFER)
    dropped: list[str] = []
    connections = Connections(maximum, dropped.append, max_held_bytes)
    issuer = ListeningIssuer(connections, listener.getsockname()[1], dropped=dropped)
    issuer.gate.set()
    tasks: set[asyncio.Task[None]] = set()

    def connect() -> HttpConnection:
        return HttpConnection(connections, issuer.app, tasks, lambda: b"date: now\r\n")

    server = await asyncio.get_running_loop().create_server(connect, sock=listener)
    try:
        yield issuer
    finally:
        server.close()
        issuer.gate.set()
        for client in issuer.clients:
            client.close()
        while len(connections):  # noqa: ASYNC110 - nothing tells when they are closed
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Return the event loop of the issuer."""
    return "asyncio", {"use_uvloop": True}
