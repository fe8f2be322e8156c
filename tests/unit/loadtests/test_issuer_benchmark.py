"""The issuer's benchmark: its report and its load."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loadtests.bench_issuer import operations
from loadtests.bench_issuer.client import Connection, Response, Sample, closed_loops, open_loop
from loadtests.bench_issuer.comparison import Pair
from loadtests.bench_issuer.measurements import Round
from loadtests.bench_issuer.report import targets, to_text
from loadtests.processes import InvalidRunError

MACHINE: dict[str, str | int] = {"cpu": "a processor", "cores": 2, "kernel": "6", "system": "a system"}
GOOD: dict[str, Any] = {
    "argon2_rate": 100.0,
    "login_rate": 95.0,
    "overload_offered": 150.0,
    "overload_served": 96.0,
    "overload_rejected": 54.0,
    "overload_p99": 3.1,
    "memory_before": 100,
    "memory_after": 101,
    "refresh_p95": 0.012,
    "me_p95": 0.006,
    "revocation_p99": 2.4,
    "swap_rate": 4000.0,
    "signature_rate": 8000.0,
    "refresh_rate": 2100.0,
    "costs": {
        "login": Pair(ours=23.0, naive=21.5),
        "refresh": Pair(ours=0.9, naive=1.1),
        "client_credentials": Pair(ours=0.5, naive=0.41),
        "key set": Pair(ours=0.06, naive=0.05),
    },
}


def finished(**changes: Any) -> Round:
    return Round(**{**GOOD, **changes})


def test_a_fast_run_meets_every_target() -> None:
    text = to_text([finished()], MACHINE, 3.0)
    assert "NOT MET" not in text
    assert text.count("| met ") == len(targets(3.0))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("login_rate", 89.0),
        ("overload_served", 89.0),
        ("overload_p99", 3.7),
        ("memory_after", 112),
        ("refresh_p95", 0.021),
        ("me_p95", 0.021),
        ("revocation_p99", 3.1),
        ("refresh_rate", 1999.0),
        ("costs", GOOD["costs"] | {"login": Pair(ours=1.3, naive=1.0)}),
        ("costs", GOOD["costs"] | {"key set": Pair(ours=1.3, naive=1.0)}),
    ],
)
def test_a_missed_target_is_reported(member: str, value: Any) -> None:
    assert to_text([finished(**{member: value})], MACHINE, 3.0).count("NOT MET") == 1


def test_the_median_of_the_rounds_is_decisive_and_the_spread_is_shown() -> None:
    rounds = [finished(login_rate=rate) for rate in (50.0, 92.0, 99.0)]
    assert "0.92 (0.50-0.99)" in to_text(rounds, MACHINE, 3.0)


def test_percentiles_and_rates_count_responses() -> None:
    sample = Sample(2.0)
    for seconds in range(1, 101):
        sample.add(Response(200 if seconds <= 90 else 503, b"", seconds / 100))
    assert (sample.rate(), sample.rate(503)) == (45.0, 5.0)
    assert sample.percentile(0.95) == pytest.approx(0.96)


def serve(
    respond: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    play: Callable[[int], Awaitable[None]],
) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await respond(reader, writer)
        writer.transport.abort()

    async def run() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        async with server:
            await play(server.sockets[0].getsockname()[1])
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(run())


async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond to each request in pieces, after 50 ms."""
    while await reader.readuntil(b"\r\n\r\n"):
        await asyncio.sleep(0.05)
        for piece in (b"HTTP/1.1 200 OK\r\nContent-", b"Length: 4\r\n\r\nbo", b"dy"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


def test_an_open_loop_sends_at_its_rate() -> None:
    async def play(port: int) -> None:
        sample = await open_loop(port, lambda: b"GET / HTTP/1.1\r\n\r\n", rate=200.0, seconds=0.2)
        assert sample.statuses == {200: 40}
        assert min(sample.waits) >= 0.05
        assert sample.seconds > 0.23, "responses after the last request was sent count with their time"

    serve(slow, play)


def test_closed_loops_wait_for_each_response() -> None:
    async def send(connection: Connection) -> Response:
        return await connection.send(b"GET / HTTP/1.1\r\n\r\n")

    async def play(port: int) -> None:
        sample = await closed_loops(port, [send] * 2, seconds=1.0, warm_up=0.0)
        assert 1 <= sample.statuses[200] <= 40
        assert sample.statuses.keys() == {200}

    serve(slow, play)


def test_an_unexpected_response_names_its_operation() -> None:
    async def overloaded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    async def play(port: int) -> None:
        connection = await Connection.open(port, 0)
        with pytest.raises(InvalidRunError, match=r"^POST /login got 503: repeat the run when other"):
            await operations.send(connection, b"POST /login HTTP/1.1\r\n\r\n")
        connection.close()

    serve(overloaded, play)
