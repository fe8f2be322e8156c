"""The limits of a connection, on real sockets with a test clock."""

import asyncio

import pytest

from issuer.http.connections import READ_BYTES
from issuer.http.protocol import MAX_BODY_BYTES
from tests.support.listening_issuer import Client, anyio_backend, listening_issuer

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: x\r\n"


async def test_pipelined_requests_are_parsed_one_by_one() -> None:
    async with listening_issuer() as issuer:
        issuer.gate.clear()
        client = await issuer.connect()
        await client.send(b"".join(GET % number for number in range(2000)))
        assert len(issuer.requests) == 1
        (connection,) = issuer.connections
        assert len(connection._ahead) <= 2 * READ_BYTES
        issuer.gate.set()
        for number in range(2000):
            assert (await client.echoed())["path"] == f"/{number}"


async def test_waiting_clients_are_served_before_pipelined_requests() -> None:
    async with listening_issuer() as issuer:
        issuer.gate.clear()
        ahead = [await issuer.connect() for _ in range(50)]
        for client in ahead:
            await client.send(b"".join(GET % 1 for _ in range(20)))
        other = await issuer.connect()
        issuer.gate.set()
        await other.send(GET % 2)
        await other.echoed()
        assert [path for _, path, _ in issuer.requests].index("/2") < 500


@pytest.mark.parametrize(
    ("sent", "seconds", "reason"),
    [
        (b"", 10, "head_timeout"),
        (GET[:20], 10, "head_timeout"),
        (POST + b"Content-Length: 500\r\n\r\nab", 30, "body_timeout"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\na", 30, "body_timeout"),
    ],
)
async def test_an_incomplete_request_is_closed_after_its_time(sent: bytes, seconds: int, reason: str) -> None:
    async with listening_issuer() as issuer:
        client = await issuer.connect()
        await client.send(sent)
        for _ in range(seconds):
            await issuer.tick(1)
            # A byte now and then does not extend it.
            if sent:
                await client.send(b"a")
        assert await client.is_open()
        await issuer.tick(1)
        assert not await client.is_open()
        assert (issuer.dropped, issuer.requests) == ([reason], [])


async def test_a_kept_connection_is_closed_after_75_s_without_a_request() -> None:
    async with listening_issuer() as issuer:
        client = await issuer.connect()
        for _ in range(2):
            await client.send(GET % 1)
            await issuer.tick(75)
            assert await client.is_open()
        await issuer.tick(1)
        assert not await client.is_open()
        assert issuer.dropped == []


async def test_a_client_that_reads_nothing_is_disconnected_after_20_s() -> None:
    async with listening_issuer() as issuer:
        issuer.response_bytes = 256 * 1024
        client = await issuer.connect()
        await client.send(b"".join(GET % number for number in range(9)))
        assert len(issuer.requests) == 1
        await issuer.tick(20)
        assert len(issuer.connections) == 1
        await issuer.tick(1)
        assert len(issuer.connections) == 0
        assert issuer.dropped == ["sending_timeout"]


async def test_unread_responses_of_all_clients_are_bounded() -> None:
    async with listening_issuer() as issuer:
        issuer.response_bytes = 300 * 1024
        for number in range(6):
            client = await issuer.connect()
            await client.send(GET % number)
        assert len(issuer.connections) == 3
        assert issuer.dropped == 3 * ["held_bytes"]


async def test_incomplete_bodies_of_all_clients_are_bounded() -> None:
    async with listening_issuer(max_held_bytes=100_000) as issuer:
        slow = [await issuer.connect() for _ in range(3)]
        for client in slow:
            await client.send(POST + b"Content-Length: 60000\r\n\r\n", b"a" * 30_000)
        other = await issuer.connect()
        await other.send(POST + b"Content-Length: 40000\r\n\r\n", b"a" * 30_000, b"a" * 10_000)
        assert len((await other.echoed())["body"]) == 40_000
        assert await _all_connected(slow) == [False, True, True]
        assert issuer.dropped == ["held_bytes"]


async def _all_connected(clients: list[Client]) -> list[bool]:
    return list(await asyncio.gather(*(client.is_open() for client in clients)))


async def test_a_connection_of_the_network_with_most_is_closed() -> None:
    async with listening_issuer(maximum=5) as issuer:
        few = [await issuer.connect("127.0.0.2") for _ in range(2)]
        many = [await issuer.connect("127.0.0.3") for _ in range(3)]
        await many[0].send(GET % 1)
        newest = await issuer.connect("127.0.0.4")
        await newest.send(GET % 2)
        assert (await newest.echoed())["path"] == "/2"
        assert await _all_connected(few) == [True, True]
        assert await _all_connected(many) == [True, False, True]
        assert issuer.dropped == ["evicted"]


async def test_pipelining_clients_do_not_block_others() -> None:
    async with listening_issuer(maximum=20) as issuer:
        flood = [await issuer.connect() for _ in range(25)]
        for client in flood:
            await client.send(GET % 1 * 500)
        for _ in range(10):
            newest = await issuer.connect()
            await newest.send(GET % 2)
            assert (await newest.echoed())["path"] == "/2"
        assert "rejected" not in issuer.dropped


async def test_a_request_in_progress_is_never_interrupted() -> None:
    async with listening_issuer(maximum=3) as issuer:
        issuer.gate.clear()
        busy = [await issuer.connect() for _ in range(3)]
        for client in busy:
            await client.send(GET % 1)
        for _ in range(3):
            newest = await issuer.connect()
            response = await newest.rest()
            assert response.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 2\r\n" in response
            assert b"urn:gatepass:problem:too-many-connections" in response
        issuer.gate.set()
        assert [(await client.echoed())["path"] for client in busy] == 3 * ["/1"]
        assert issuer.dropped.count("rejected") == 3


async def test_a_larger_network_does_not_displace_a_smaller_one() -> None:
    async with listening_issuer(maximum=3) as issuer:
        issuer.gate.clear()
        few = await issuer.connect("127.0.0.2")
        busy = [await issuer.connect("127.0.0.3") for _ in range(2)]
        for client in busy:
            await client.send(GET % 1)
        newest = await issuer.connect("127.0.0.3")
        assert (await newest.rest()).startswith(b"HTTP/1.1 503 ")
        assert await few.is_open()


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1),
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n%s\r\n" % (b"a" * 4096) * 17,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 50_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 300_000,
    ],
)
async def test_a_body_over_the_limit_is_not_read(request_bytes: bytes) -> None:
    async with listening_issuer() as issuer:
        client = await issuer.connect()
        await client.send(request_bytes)
        response = await client.rest()
        assert response.count(b"HTTP/1.1 ") == 1
        assert b"connection: close" in response
        assert b'"too_large": true' in response
        assert [body for _, _, body in issuer.requests] == [b""]


async def test_a_body_of_64_kib_is_read() -> None:
    async with listening_issuer() as issuer:
        client = await issuer.connect()
        await client.send(POST + b"Content-Length: %d\r\n\r\n" % MAX_BODY_BYTES, b"a" * MAX_BODY_BYTES)
        assert not (await client.echoed())["too_large"]
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n", b"b" * MAX_BODY_BYTES)
        await client.send(b"\r\n0\r\n\r\n")
        assert (await client.echoed())["body"] == "b" * MAX_BODY_BYTES


async def test_continue_is_sent_for_a_body_that_will_be_read() -> None:
    async with listening_issuer() as issuer:
        client = await issuer.connect()
        expects = POST + b"Expect: 100-continue\r\nContent-Length: "
        await client.send(expects + b"3\r\n\r\n")
        assert await client.head() == b"HTTP/1.1 100 Continue"
        await client.send(b"abc")
        assert (await client.echoed())["body"] == "abc"
        await client.send(expects + b"0\r\n\r\n")
        assert (await client.echoed())["body"] == ""
        await client.send(expects + b"70000\r\n\r\n")
        assert (await client.echoed())["too_large"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: identity\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\n\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
        b"invalid\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /m\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    ],
)
async def test_ambiguous_or_malformed_http_is_rejected(request_bytes: bytes) -> None:
    async with listening_issuer() as issuer:
        client = await issuer.connect()
        await client.send(request_bytes + GET % 1)
        response = await client.rest()
        assert response.startswith(b"HTTP/1.1 400 ")
        assert response.count(b"HTTP/1.1 ") == 1
        assert b"urn:gatepass:problem:malformed-request" in response
        assert issuer.requests == []
