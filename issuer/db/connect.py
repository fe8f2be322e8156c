"""Opens connections. With several servers, connects to the first in order that accepts writes. ADR 0093."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import asyncpg  # noqa: TID251 - issuer.db is about PostgreSQL

from issuer.db.url import DatabaseUrl

_STAGGER_SECONDS: Final = 0.2
"""Time without a response after which the next server is tried too: many times the duration of a connection attempt,
and short compared with the second that a request may wait for a connection."""


class _Connection(asyncpg.Connection):
    """A connection that is closed when a statement takes too long or its task is cancelled.

    asyncpg would ask the server to cancel the statement. A commit that waits for its synchronous standby cannot be
    undone any more: if it is cancelled, it becomes visible on this server alone. A second request then finds the work
    done and is acknowledged without a write of its own. If the server is lost, both are lost. ADR 0133.
    """

    def _cancel_current_command(self, *_: object) -> None:
        # Not at once, since the caller still uses the protocol that `terminate` closes.
        asyncio.get_running_loop().call_soon(self.terminate)


async def connect(url: DatabaseUrl, seconds: float, **options: Any) -> asyncpg.Connection:
    """Open a connection; `options` are those of `asyncpg.connect`.

    Raises:
        TimeoutError: no server accepted the connection within `seconds`.
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError: every server failed.
    """
    options |= {"timeout": seconds, "connection_class": _Connection}
    hosts = [{"host": server.host, "port": server.port} for server in url.servers]
    async with asyncio.timeout(seconds):
        return await _first([partial(asyncpg.connect, url.dsn, **host, **options) for host in hosts or [{}]])


async def _first(waiting: list[Callable[[], Awaitable[asyncpg.Connection]]]) -> asyncpg.Connection:
    """Start each attempt when the previous one has failed or is slow; return the first success and end the others."""
    running: list[asyncio.Future[asyncpg.Connection]] = []
    failures: list[BaseException] = []
    try:
        while waiting or running:
            if waiting:
                running.append(asyncio.ensure_future(waiting.pop(0)()))
            timeout = _STAGGER_SECONDS if waiting else None
            await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for attempt in [attempt for attempt in running if attempt.done()]:
                running.remove(attempt)
                if (failure := attempt.exception()) is None:
                    return attempt.result()
                failures.append(failure)
        raise min(failures, key=_rank)
    finally:
        await _end(running)


def _rank(failure: BaseException) -> int:
    """Order failures by how much they explain: error messages, then read-only servers, then unreachable servers."""
    match failure:
        case asyncpg.PostgresConnectionError() | asyncpg.exceptions.CannotConnectNowError():
            return 2
        case asyncpg.PostgresError():
            return 0
        case asyncpg.exceptions.TargetServerAttributeNotMatched():
            return 1
        case _:
            return 2


async def _end(attempts: Sequence[asyncio.Future[asyncpg.Connection]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    for opened in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(opened, asyncpg.Connection):
            opened.terminate()
