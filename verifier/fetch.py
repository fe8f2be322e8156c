"""One document by HTTP, one attempt: conditional, bounded, without redirects, proxies or content codings.

Whatever the other side does (hang, drip, never end, redirect, hand out rubbish), an attempt ends within
`FETCH_SECONDS` and within the size limit, and in an `Answer` or a `SourceError`. What a document means and when
to ask again is for others.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

FETCH_SECONDS: Final = 5.0
_HEAD_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 1024
"""So little at once that what a hostile source packs into it can't delay requests by more than milliseconds."""
_VISIBLE: Final = re.compile(r"[\x21-\x7E]+").fullmatch


class SourceError(Exception):
    """This attempt gave nothing usable. `cause` is a short label from a closed list, for metrics."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to ask for.

    Attributes:
        url: checked by `check_url` before.
        accept: media types.
        max_bytes: the largest document to take.
    """

    url: SplitResult
    accept: str
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt found.

    Attributes:
        document: the body, or None if it is unchanged since the answer that had the entity tag.
        etag: the entity tag to ask with the next time, if there is one.
        cache_control: the field as received, empty if there was none.
    """

    document: bytes | None
    etag: bytes | None
    cache_control: bytes


async def fetch(wanted: Wanted, tls: ssl.SSLContext, etag: bytes | None) -> Answer:
    """Ask once, within `FETCH_SECONDS` in all.

    Args:
        wanted: what to ask for.
        tls: for https.
        etag: of the document that we have, if any.

    Raises:
        SourceError: there was no usable answer.
    """
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            response, document = await _get(wanted, tls, etag)
    except TimeoutError as error:
        raise SourceError("timeout", f"no complete answer within {FETCH_SECONDS:g} s") from error
    except (OSError, h11.ProtocolError) as error:
        raise SourceError("unreachable", type(error).__name__) from error
    headers = dict(response.headers)
    cache_control = headers.get(b"cache-control", b"")
    if response.status_code == 304 and etag:  # noqa: PLR2004 - RFC 9110 §15.4.5
        return Answer(None, etag, cache_control)
    if response.status_code != 200:  # noqa: PLR2004 - RFC 9110 §15.3.1
        raise SourceError("status", f"answered {response.status_code}; redirects are not followed")
    return Answer(document, headers.get(b"etag"), cache_control)


def check_url(url: str, *, allow_http: bool) -> str | None:
    """Why `url` must not be a source of keys or status lists, or None if it may.

    Plain http lets anyone on the way choose the keys, so it is for loopback or by explicit permission.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return "malformed"
    if not _VISIBLE(url):
        return "characters that a URL can't have (RFC 3986 §2)"
    if parts.scheme not in ("https", "http") or not parts.hostname:
        return "not an https URL"
    if parts.username or parts.password or parts.fragment:
        return "credentials and fragments have no place in it"
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        return "plain http beyond loopback: use https, or VERIFIER_JWKS_ALLOW_HTTP=true in a private network"
    return None


def without_secrets(url: str) -> str:
    """`url` as it may be logged."""
    return re.sub(r"//[^/]*@", "//***@", url.partition("?")[0])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _get(wanted: Wanted, tls: ssl.SSLContext, etag: bytes | None) -> tuple[h11.Response, bytes]:
    url = wanted.url
    assert url.hostname
    secure = url.scheme == "https"
    reader, writer = await asyncio.open_connection(
        url.hostname, url.port or (443 if secure else 80), ssl=tls if secure else None, limit=2**16
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        writer.write(connection.send(_request(wanted, etag)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        return await _receive(connection, reader, wanted.max_bytes)
    finally:
        writer.transport.abort()


def _request(wanted: Wanted, etag: bytes | None) -> h11.Request:
    url = wanted.url
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = [
        (b"Host", url.netloc.encode()),
        (b"Accept", wanted.accept.encode()),
        (b"Connection", b"close"),
    ]
    return h11.Request(method="GET", target=target, headers=headers + ([(b"If-None-Match", etag)] if etag else []))


async def _receive(
    connection: h11.Connection, reader: asyncio.StreamReader, max_bytes: int
) -> tuple[h11.Response, bytes]:
    response: h11.Response | None = None
    document = bytearray()
    received = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(_READ_BYTES)
            received += len(data)
            if received > max_bytes + _HEAD_BYTES:
                raise SourceError("refused", f"an answer of more than {max_bytes + _HEAD_BYTES} bytes")
            connection.receive_data(data)
            # Data that is already there does not suspend us: requests come first.
            await asyncio.sleep(0)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            document += event.data
            if len(document) > max_bytes:
                raise SourceError("refused", f"larger than {max_bytes} bytes")
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            return response, bytes(document)
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("connection closed before the end of the answer")
