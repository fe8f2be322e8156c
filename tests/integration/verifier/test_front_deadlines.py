"""The deadlines of the subrequest listener, on real sockets and a real loop, with a test clock."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.listening_server import ListeningServer, listening_server
from tests.support.raw_http import request
from verifier.subrequest.http_connection import FIRST_REQUEST_SECONDS, IDLE_SECONDS, LINGER_SECONDS, REQUEST_SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it() -> AsyncIterator[ListeningServer]:
    async with listening_server() as server:
        yield server


async def assert_closed_after(seconds: int, it: ListeningServer) -> None:
    """Let the seconds and one more pass; the connection must be closed after the last."""
    await it.tick(seconds)
    assert it.server.connections
    await it.tick(1)
    assert not it.server.connections


async def test_an_incomplete_head_gets_408_after_10_seconds(it: ListeningServer) -> None:
    await it.send(b"GET /ver")
    await it.tick(REQUEST_SECONDS)
    assert it.is_open
    await it.tick(1)
    assert await it.rest() == [408]


async def test_slow_bytes_do_not_extend_the_deadline(it: ListeningServer) -> None:
    await it.send(b"GET /verify HTTP/1.1\r\nX: ")
    for _ in range(REQUEST_SECONDS):
        await it.tick(1)
        await it.send(b"x")
    assert it.is_open
    await it.tick(1)
    assert await it.rest() == [408]


async def test_the_time_for_a_head_starts_with_its_first_byte(it: ListeningServer) -> None:
    await it.tick(FIRST_REQUEST_SECONDS)
    await it.send(b"GET /verify HTTP/1.1\r\n")
    await it.tick(REQUEST_SECONDS)
    await it.send(f"Host: v\r\n{it.token}\r\n\r\n".encode())
    assert (await it.response()).status == 200


async def test_an_idle_connection_is_closed_after_75_seconds(it: ListeningServer) -> None:
    await it.send(request("/verify", it.token))
    assert (await it.response()).status == 200
    await it.tick(IDLE_SECONDS)
    assert it.is_open
    await it.tick(1)
    assert await it.rest() == []


async def test_each_request_restarts_the_idle_time(it: ListeningServer) -> None:
    for seconds in (0, IDLE_SECONDS - 1, IDLE_SECONDS - 1):
        await it.tick(seconds)
        await it.send(request("/verify", it.token))
        assert (await it.response()).status == 200


async def test_a_connection_without_a_request_is_closed_within_15_seconds(it: ListeningServer) -> None:
    await it.tick(14)
    assert it.is_open
    await it.tick(1)
    assert await it.rest() == []


async def test_empty_lines_do_not_keep_a_connection(it: ListeningServer) -> None:
    for _ in range(FIRST_REQUEST_SECONDS // 5 + 1):
        await it.send(b"\r\n")
        await it.tick(5)
    assert await it.rest() in ([], [408])


async def test_an_incomplete_body_closes_the_connection_after_10_seconds(it: ListeningServer) -> None:
    await it.send(request("/verify", it.token, "Content-Length: 100"))
    assert (await it.response()).status == 200
    for _ in range(REQUEST_SECONDS):
        await it.tick(1)
        await it.send(b"x")
    await it.tick(1)
    assert await it.rest() == []


async def test_a_client_that_does_not_close_is_disconnected(it: ListeningServer) -> None:
    await it.send(request("/verify", it.token, "Connection: close"))
    assert (await it.response()).closes
    await assert_closed_after(LINGER_SECONDS, it)


async def test_a_client_that_does_not_read_is_disconnected_after_10_seconds(it: ListeningServer) -> None:
    await it.fill()
    await assert_closed_after(REQUEST_SECONDS, it)


@pytest.mark.parametrize("then", ["waits", "half-closes"])
async def test_a_few_unread_responses_do_not_keep_a_connection(it: ListeningServer, then: str) -> None:
    await it.fill_kernel_buffers()
    (connection,) = it.server.connections
    assert not connection._write_paused
    if then == "half-closes":
        it.writer.write_eof()
        await asyncio.sleep(0.02)
    await assert_closed_after(REQUEST_SECONDS, it)


async def test_the_time_to_read_responses_starts_again_when_the_client_reads(it: ListeningServer) -> None:
    await it.fill_kernel_buffers()
    (connection,) = it.server.connections
    connection.pause_writing()
    await it.tick(REQUEST_SECONDS)
    # As the transport does when the client has read most responses.
    connection.resume_writing()
    await assert_closed_after(REQUEST_SECONDS, it)


async def test_a_client_that_reads_again_is_served_again(it: ListeningServer) -> None:
    requests = await it.fill()
    it.read_again()
    responses = [await it.response() for _ in range(requests)]
    assert {response.status for response in responses} == {200}
    await it.tick(REQUEST_SECONDS + 1)
    await it.send(request("/verify", it.token))
    assert (await it.response()).status == 200


async def test_while_draining_the_next_response_closes_the_connection(it: ListeningServer) -> None:
    it.server.draining = True
    await it.send(request("/verify", it.token) * 3)
    response = await it.response()
    assert (response.status, response.closes) == (200, True)
    assert await it.rest() == []
    (family,) = it.metrics.decisions.collect()
    assert sum(sample.value for sample in family.samples) == 1, "a request without a response is not decided either"
