"""Where key sets come from: a file or a URL, one attempt at a time. When to try again is `key_refresh`'s.

Whatever the source does (hang, drip, never end, redirect, hand out rubbish), an attempt ends within
`FETCH_SECONDS` and within the size limit, away from the request path, and in a `JwkSet` or a `SourceError`.
"""

import asyncio
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

import h11

from shared.jwks import MAX_DOCUMENT_BYTES, JwksError, JwkSet, parse_jwks
from verifier.policies import JwksSource, PolicyError

FETCH_SECONDS: Final = 5.0
FILE_POLL_SECONDS: Final = 1.0
DEFAULT_MAX_AGE_SECONDS: Final = 300
_MAX_AGE_BOUNDS: Final = (10, 3600)
_MAX_ANSWER_BYTES: Final = MAX_DOCUMENT_BYTES + 64 * 1024
_READ_BYTES: Final = 1024
"""So little at once that what a hostile source packs into it can't delay requests by more than milliseconds."""
_VISIBLE: Final = re.compile(r"[\x21-\x7E]+").fullmatch


class SourceError(Exception):
    """This attempt gave no key set. `cause` is a short label from a closed list, for metrics."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Reading:
    """What an attempt found.

    Attributes:
        jwks: the key set, or None if it is unchanged since the last reading.
        document: its bytes as received, to be kept for a cold start; empty if unchanged.
        next_seconds: how long the source says it holds.
    """

    jwks: JwkSet | None
    document: bytes
    next_seconds: float


class KeySource(Protocol):
    """One issuer's key set, wherever it is.

    Attributes:
        goes_stale: whether keys stop to count when the source can't be read for too long.
        max_retry_seconds: the longest pause between failed attempts.
    """

    goes_stale: bool
    max_retry_seconds: float

    async def read(self) -> Reading:
        """Look once.

        Raises:
            SourceError: nothing usable was found.
        """


class FileSource:
    """A key set in a file, looked at every second and read when it changed."""

    goes_stale = False
    max_retry_seconds = FILE_POLL_SECONDS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None

    async def read(self) -> Reading:
        """Look once, in a thread: even a file can hang, on a network."""
        try:
            seen, document = await asyncio.to_thread(_read_if_changed, self._path, self._seen)
        except OSError as error:
            self._seen = None
            raise SourceError("unreadable", f"cannot be read ({error.strerror or error})") from error
        if document is None:
            return Reading(None, b"", FILE_POLL_SECONDS)
        self._seen = None
        jwks = _parse(document)
        self._seen = seen
        return Reading(jwks, document, FILE_POLL_SECONDS)


class UrlSource:
    """A key set by HTTP: conditional requests, no redirects, no proxies, no content codings.

    Args:
        url: checked by `check_url` before.
        tls: for https.
    """

    goes_stale = True
    max_retry_seconds = 30.0

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url, self._tls = urlsplit(url), tls
        self._etag: bytes | None = None

    async def read(self) -> Reading:
        """Fetch once, within `FETCH_SECONDS` in all."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                response, document = await _get(self._url, self._tls, self._etag)
        except TimeoutError as error:
            raise SourceError("timeout", f"no complete answer within {FETCH_SECONDS:g} s") from error
        except (OSError, h11.ProtocolError) as error:
            raise SourceError("unreachable", type(error).__name__) from error
        headers = dict(response.headers)
        next_seconds = _max_age(headers.get(b"cache-control", b""))
        if response.status_code == 304 and self._etag:  # noqa: PLR2004 - RFC 9110 §15.4.5
            return Reading(None, b"", next_seconds)
        if response.status_code != 200:  # noqa: PLR2004 - RFC 9110 §15.3.1
            raise SourceError("status", f"answered {response.status_code}; redirects are not followed")
        jwks = _parse(document)
        self._etag = headers.get(b"etag")
        return Reading(jwks, document, next_seconds)


def open_sources(sources: Mapping[str, JwksSource], tls: ssl.SSLContext, *, allow_http: bool) -> dict[str, KeySource]:
    """The readers of all sources, by issuer.

    Raises:
        PolicyError: as `open_source`.
    """
    return {issuer: open_source(where, tls, allow_http=allow_http) for issuer, where in sources.items()}


def open_source(where: JwksSource, tls: ssl.SSLContext, *, allow_http: bool) -> KeySource:
    """The reader of a source that the settings or the policy file name.

    Raises:
        PolicyError: its URL must not be trusted with keys.
    """
    if where.file is not None:
        return FileSource(where.file)
    assert where.url is not None
    if fault := check_url(where.url, allow_http=allow_http):
        raise PolicyError(f"key set URL {_without_secrets(where.url)!r}: {fault}")
    return UrlSource(where.url, tls)


def check_url(url: str, *, allow_http: bool) -> str | None:
    """Why `url` must not be a source of keys, or None if it may.

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


def _without_secrets(url: str) -> str:
    return re.sub(r"//[^/]*@", "//***@", url.partition("?")[0])


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse(document: bytes) -> JwkSet:
    try:
        return parse_jwks(document)
    except JwksError as error:
        raise SourceError("refused", str(error)) from error


def _read_if_changed(path: Path, seen: tuple[int, ...] | None) -> tuple[tuple[int, ...], bytes | None]:
    # O_NONBLOCK: opening a pipe that nobody writes to must not hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError("not a regular file")
        now = (state.st_mtime_ns, state.st_size, state.st_ino, state.st_dev)
        if now == seen:
            return now, None
        with open(descriptor, "rb", closefd=False) as file:
            return now, file.read(MAX_DOCUMENT_BYTES + 1)
    finally:
        # By hand: a file object that is refused a directory leaves the descriptor open.
        os.close(descriptor)


async def _get(url: SplitResult, tls: ssl.SSLContext, etag: bytes | None) -> tuple[h11.Response, bytes]:
    assert url.hostname
    secure = url.scheme == "https"
    reader, writer = await asyncio.open_connection(
        url.hostname, url.port or (443 if secure else 80), ssl=tls if secure else None, limit=2**16
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        writer.write(connection.send(_request(url, etag)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        return await _receive(connection, reader)
    finally:
        writer.transport.abort()


def _request(url: SplitResult, etag: bytes | None) -> h11.Request:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = [
        (b"Host", url.netloc.encode()),
        (b"Accept", b"application/jwk-set+json, application/json"),
        (b"Connection", b"close"),
    ]
    return h11.Request(method="GET", target=target, headers=headers + ([(b"If-None-Match", etag)] if etag else []))


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Response, bytes]:
    response: h11.Response | None = None
    document = bytearray()
    received = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(_READ_BYTES)
            received += len(data)
            if received > _MAX_ANSWER_BYTES:
                raise SourceError("refused", f"an answer of more than {_MAX_ANSWER_BYTES} bytes")
            connection.receive_data(data)
            # Data that is already there does not suspend us: requests come first.
            await asyncio.sleep(0)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            document += event.data
            if len(document) > MAX_DOCUMENT_BYTES:
                raise SourceError("refused", f"larger than {MAX_DOCUMENT_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            return response, bytes(document)
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("connection closed before the end of the answer")


def _max_age(cache_control: bytes) -> float:
    """`max-age` of RFC 9111 §5.2.2.1, kept within bounds that neither hammer the issuer nor go blind."""
    directive = re.search(rb"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", cache_control, re.IGNORECASE)
    seconds = int(directive[1]) if directive else DEFAULT_MAX_AGE_SECONDS
    return float(min(max(seconds, _MAX_AGE_BOUNDS[0]), _MAX_AGE_BOUNDS[1]))
