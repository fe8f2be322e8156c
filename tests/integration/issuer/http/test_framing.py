"""Requests do not depend on the packets in which their bytes arrive."""

import random
from collections.abc import Iterator

import pytest

from tests.support.listening_issuer import anyio_backend, listening_issuer

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

INNER = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"


def head(method: bytes, path: bytes, fields: bytes) -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n"


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"


LENGTH = b"Content-Length: %d\r\n" % len(INNER)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
REQUESTS = [
    (head(b"GET", b"/1", b""), b""),
    (head(b"GET", b"/2", UPGRADE), b""),
    (head(b"POST", b"/3", LENGTH) + INNER, INNER),
    (head(b"POST", b"/4", UPGRADE + LENGTH) + INNER, INNER),
    (b"\r\n" + head(b"POST", b"/5", CHUNKED) + chunked(INNER, INNER), INNER + INNER),
    (head(b"GET", b"/6", UPGRADE + CHUNKED) + chunked(b"a", INNER, trailer=b"Host: y\r\nX: z\r\n"), b"a" + INNER),
    (head(b"PUT", b"/7", UPGRADE + b"Content-Length: 0\r\n"), b""),
    (head(b"DELETE", b"/8", CHUNKED + UPGRADE) + chunked(), b""),
    (head(b"OPTIONS", b"/9", b"Upgrade: websocket\r\n"), b""),
]


def pieces(stream: bytes, seed: int) -> Iterator[bytes]:
    chosen = random.Random(seed)
    longest = chosen.choice([1, 3, 50, 500, len(stream)])
    while stream:
        size = chosen.randint(1, longest)
        yield stream[:size]
        stream = stream[size:]


@pytest.mark.parametrize("seed", range(25))
async def test_every_split_is_read_as_the_same_requests(seed: int) -> None:
    requests = random.Random(seed).sample(REQUESTS, len(REQUESTS))

    async with listening_issuer() as issuer:
        client = await issuer.connect()
        await client.send(*pieces(b"".join(request for request, _ in requests), seed))
        results = [await client.echoed() for _ in requests]
        assert [each["body"].encode() for each in results] == [body for _, body in requests]
        assert [body for _, _, body in issuer.requests] == [body for _, body in requests]
        assert await client.is_open()
        assert client.received == b""
