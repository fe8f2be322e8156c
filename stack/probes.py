"""Readiness probes over HTTP: one request on one connection, without redirects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from stack.settings import HOST

_TIMEOUT_SECONDS: Final = 2.0


def http_ready(port: int, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    """Return a function that returns whether `GET path` on `port` returns `status`."""

    async def probe() -> bool:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                    status_line = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False
        return status_line.split()[1:2] == [str(status).encode()]

    return probe
