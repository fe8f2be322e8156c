"""A silent server is an outage; a slow server, a short stall and a pause of this process are none."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import asyncpg  # noqa: TID251 - the errors that a probe meets
import pytest

from issuer.db.outage_detector import OUTAGE_TICKS, TICK_SECONDS, OutageDetector

pytestmark = pytest.mark.anyio


class Server:
    """A server that responds to probes while `is_up`; counts the reports of the detector."""

    def __init__(self) -> None:
        self.is_up = True
        self.fault: Exception | None = None
        self.read_only = "off"
        self.reports: list[str] = []

    async def connect(self) -> asyncpg.Connection:
        if self.fault:
            raise self.fault
        return cast("asyncpg.Connection", self)

    async def fetchval(self, _: str) -> str:
        while not self.is_up:  # noqa: ASYNC110 - a test's server
            await asyncio.sleep(0.01)
        return self.read_only

    def terminate(self) -> None:
        """Do nothing."""

    def began(self) -> None:
        self.reports.append("began")

    async def ended(self) -> None:
        self.reports.append("ended")


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def detector(server: Server) -> AsyncIterator[OutageDetector]:
    """Yield a running detector of outages of the server."""
    detector = OutageDetector(server.connect, server.began, server.ended)
    running = asyncio.create_task(detector.run())
    yield detector
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a condition has no event to wait for
            await asyncio.sleep(0.01)


async def test_a_slow_statement_is_no_outage_while_the_server_responds_to_others(
    server: Server, detector: OutageDetector
) -> None:
    detector.begin()
    await asyncio.sleep(0.6)
    detector.end(responded=True)
    assert server.reports == []


async def test_a_short_stall_is_no_outage(server: Server, detector: OutageDetector) -> None:
    server.is_up = False
    detector.begin()
    await asyncio.sleep(OUTAGE_TICKS * TICK_SECONDS / 2)
    server.is_up = True
    await asyncio.sleep(0.2)
    detector.end(responded=True)
    assert server.reports == []


async def test_a_server_that_does_not_respond_is_an_outage_until_it_responds(
    server: Server, detector: OutageDetector
) -> None:
    server.is_up = False
    detector.begin()
    await until(lambda: detector.outage)
    assert detector.outage == "NoResponse"
    detector.end(responded=False)
    server.is_up = True
    await until(lambda: not detector.outage)
    assert server.reports == ["began", "ended"]


async def test_a_pause_of_our_own_process_is_no_outage(server: Server, detector: OutageDetector) -> None:
    detector.begin()
    for _pause in range(3):
        await asyncio.sleep(0.02)
        time.sleep(1.5)  # noqa: ASYNC251 - the pause
    detector.end(responded=True)
    await asyncio.sleep(0.1)
    assert server.reports == []


@pytest.mark.usefixtures("detector")
async def test_an_idle_server_is_not_probed(server: Server) -> None:
    server.is_up = False
    await asyncio.sleep(0.5)
    assert server.reports == []


async def test_an_unreachable_server_is_an_outage_at_the_first_failed_probe(
    server: Server, detector: OutageDetector
) -> None:
    server.fault = ConnectionRefusedError()
    detector.suspect()
    await until(lambda: detector.outage)
    server.fault = None
    await until(lambda: not detector.outage)
    assert server.reports == ["began", "ended"]


async def test_a_server_without_free_connections_is_no_outage(server: Server, detector: OutageDetector) -> None:
    server.fault = asyncpg.exceptions.TooManyConnectionsError()
    detector.suspect()
    await asyncio.sleep(0.3)
    assert server.reports == []


async def test_a_standby_does_not_end_the_outage(server: Server, detector: OutageDetector) -> None:
    server.read_only = "on"
    detector.suspect()
    await until(lambda: detector.outage == "ReadOnly")
    server.read_only = "off"
    await until(lambda: not detector.outage)
    assert server.reports == ["began", "ended"]


@pytest.mark.parametrize("steps", range(6))
async def test_a_detector_that_is_cancelled_when_an_outage_is_suspected_ends(server: Server, steps: int) -> None:
    detector = OutageDetector(server.connect, server.began, server.ended)
    running = asyncio.create_task(detector.run())
    detector.begin()
    await asyncio.sleep(0.02)
    detector.suspect()
    for _ in range(steps):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=1)
    assert running.cancelled()


def test_a_detector_that_is_cancelled_while_it_ends_a_probe_ends() -> None:
    class Stopping(Server):
        running: asyncio.Task[None]

        async def fetchval(self, statement: str) -> str:
            try:
                return await super().fetchval(statement)
            except asyncio.CancelledError:
                self.running.cancel()
                raise

    async def cancel() -> None:
        server = Stopping()
        server.is_up = False
        detector = OutageDetector(server.connect, server.began, server.ended)
        server.running = asyncio.create_task(detector.run())
        detector.begin()
        await asyncio.wait({server.running}, timeout=OUTAGE_TICKS * TICK_SECONDS + 1)
        assert server.running.cancelled()

    asyncio.run(cancel())
