"""Readiness probes over HTTP: one request on one connection, without redirects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from stack.settings import HOST

_TIMEOUT_SECONDS: Final = 2.0


def http_ready(port: int, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    """Return a probe: whether `GET path` on `port` returns `status`."""

    async def probe() -> bool:
        return await _status_of(port, path) == status

    return probe


async def _status_of(port: int, path: str) -> int | None:
    request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    words = status_line.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
