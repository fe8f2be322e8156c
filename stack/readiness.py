"""Asks a process over HTTP whether it is ready. One request, one connection, no redirects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from stack.settings import HOST

_TIMEOUT_SECONDS: Final = 2.0


def answers(port: int, path: str, status: int) -> Callable[[], Awaitable[bool]]:
    """A question: does `GET path` on `port` answer with `status` by now?"""

    async def ask() -> bool:
        return await _status_of(port, path) == status

    return ask


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
