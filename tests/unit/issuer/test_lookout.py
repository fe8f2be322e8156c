"""Who is judged to be away: a server that is silent, and not one that is slow, nor ourselves."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import asyncpg  # noqa: TID251 - the errors that a probe meets

from issuer.store.lookout import Lookout


class Server:
    """Answers probes while `lives`; counts what the lookout tells."""

    def __init__(self) -> None:
        self.lives = True
        self.fault: Exception | None = None
        self.read_only = "off"
        self.told: list[str] = []

    async def connect(self) -> asyncpg.Connection:
        if self.fault:
            raise self.fault
        return cast("asyncpg.Connection", self)

    async def fetchval(self, _: str) -> str:
        while not self.lives:  # noqa: ASYNC110 - a test's server
            await asyncio.sleep(0.01)
        return self.read_only

    def terminate(self) -> None:
        """Nothing to close."""

    def gone(self) -> None:
        self.told.append("gone")

    async def back(self) -> None:
        self.told.append("back")


def watched(use: Callable[[Server, Lookout], Awaitable[None]]) -> list[str]:
    """What was told while `use` ran."""
    server = Server()

    async def run() -> None:
        lookout = Lookout(server.connect, server.gone, server.back)
        watch = asyncio.create_task(lookout.run())
        await use(server, lookout)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    asyncio.run(run())
    return server.told


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a condition has no event to wait for
            await asyncio.sleep(0.01)


def test_a_slow_answer_is_waited_for_while_the_server_answers_others() -> None:
    async def use(_: Server, lookout: Lookout) -> None:
        lookout.begin()
        await asyncio.sleep(0.6)
        lookout.end(answered=True)

    assert watched(use) == []


def test_silence_is_absence_until_it_answers_again() -> None:
    async def use(server: Server, lookout: Lookout) -> None:
        server.lives = False
        lookout.begin()
        await until(lambda: lookout.away)
        assert lookout.away == "Silence"
        lookout.end(answered=False)
        server.lives = True
        await until(lambda: not lookout.away)

    assert watched(use) == ["gone", "back"]


def test_a_pause_of_our_own_is_not_taken_for_silence() -> None:
    async def use(_: Server, lookout: Lookout) -> None:
        lookout.begin()
        for _pause in range(3):
            await asyncio.sleep(0.02)
            time.sleep(0.5)  # noqa: ASYNC251 - the pause
        lookout.end(answered=True)
        await asyncio.sleep(0.1)

    assert watched(use) == []


def test_nobody_asks_a_server_that_nobody_waits_for() -> None:
    async def use(server: Server, _: Lookout) -> None:
        server.lives = False
        await asyncio.sleep(0.5)

    assert watched(use) == []


def test_a_server_that_cannot_be_reached_is_away_at_the_first_suspicion() -> None:
    async def use(server: Server, lookout: Lookout) -> None:
        server.fault = ConnectionRefusedError()
        lookout.suspect()
        await until(lambda: lookout.away)
        server.fault = None
        await until(lambda: not lookout.away)

    assert watched(use) == ["gone", "back"]


def test_a_server_that_takes_no_more_connections_is_there() -> None:
    async def use(server: Server, lookout: Lookout) -> None:
        server.fault = asyncpg.exceptions.TooManyConnectionsError()
        lookout.suspect()
        await asyncio.sleep(0.3)

    assert watched(use) == []


def test_a_standby_is_not_the_server_that_is_looked_for() -> None:
    async def use(server: Server, lookout: Lookout) -> None:
        server.read_only = "on"
        lookout.suspect()
        await until(lambda: lookout.away == "ReadOnly")
        server.read_only = "off"
        await until(lambda: not lookout.away)

    assert watched(use) == ["gone", "back"]
