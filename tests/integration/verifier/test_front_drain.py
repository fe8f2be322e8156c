"""The drain of connections, and their maximum number, on real sockets and a real loop."""

import asyncio
from collections.abc import Awaitable

import pytest

from tests.support.listening_server import ListeningServer, listening_server
from tests.support.raw_http import parse, request

pytestmark = pytest.mark.anyio


async def _at_once(happens: Awaitable[object]) -> None:
    async with asyncio.timeout(5):
        await happens


async def test_without_connections_draining_ends_at_once() -> None:
    async with listening_server(drain_seconds=60) as it:
        it.writer.close()
        await it.tick(0)
        await _at_once(it.server.drain())


async def test_draining_ends_with_the_last_connection() -> None:
    async with listening_server(drain_seconds=60) as it:
        draining = asyncio.create_task(it.server.drain())
        await it.tick(0)
        await it.send(request("/verify", it.token))
        assert (await it.response()).closes
        assert not draining.done()
        it.writer.close()
        await _at_once(draining)


async def test_draining_waits_for_every_connection() -> None:
    async with listening_server(drain_seconds=60) as it:
        _, other = await asyncio.open_connection(*it.writer.get_extra_info("peername"))
        draining = asyncio.create_task(it.server.drain())
        it.writer.close()
        await it.tick(0)
        assert not draining.done()
        other.close()
        await _at_once(draining)


async def test_what_is_still_open_after_draining_is_closed() -> None:
    async with listening_server() as it:
        await it.send(request("/verify", it.token) + b"GET /ver")
        assert (await it.response()).status == 200
        await _at_once(it.server.drain())
        assert await it.rest() == []
        assert not it.server.connections


async def test_what_a_client_does_not_read_is_discarded_after_draining() -> None:
    async with listening_server() as it:
        await it.fill()
        await _at_once(it.server.drain())
        await it.tick(0)
        assert not it.server.connections


async def test_a_connection_over_the_limit_gets_a_503_and_the_others_stay() -> None:
    async with listening_server(max_connections=2) as it:
        _, second = await asyncio.open_connection(*it.writer.get_extra_info("peername"))
        reader, third = await asyncio.open_connection(*it.writer.get_extra_info("peername"))
        (rejected,) = parse(await reader.read())
        assert (rejected.status, rejected.closes) == (503, True)
        await _expect_200(it)
        third.close()
        second.close()
        await it.tick(0)
        reader, another = await asyncio.open_connection(*it.writer.get_extra_info("peername"))
        another.write(request("/verify", it.token))
        (accepted,) = parse(await reader.readuntil(b"\r\n\r\n"))
        assert accepted.status == 200
        another.close()


async def _expect_200(it: ListeningServer) -> None:
    await it.send(request("/verify", it.token))
    assert (await it.response()).status == 200
