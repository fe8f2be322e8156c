"""Fetches one document by HTTP: one conditional GET, bounded, without redirects, proxies or content codings.

However the server behaves (it hangs, is slow, never ends, redirects, sends garbage), an attempt ends within
`FETCH_SECONDS` and within the size limit, in a `FetchResult` or a `RefreshError`.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

from verifier.refresh.name_lookup import look_up
from verifier.refresh.source import FetchResult, RefreshError

FETCH_SECONDS: Final = 5.0
_HEAD_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 1024
"""Small, so that parsing one piece of a hostile response delays requests by milliseconds at most."""


class HttpSource:
    """A document at a URL.

    Args:
        url: checked by `check_url` before. It may hold secrets: log it by `redact_url`.
        ssl_context: returns the TLS settings; called for https only.
    """

    def __init__(self, url: str, accept: str, max_bytes: int, ssl_context: Callable[[], ssl.SSLContext]) -> None:
        self.url, self.ssl_context = url, ssl_context
        self._accept, self._max_bytes = accept, max_bytes

    async def fetch(self, version: bytes | None) -> FetchResult:
        """Fetch the document once, unless it still has the entity tag `version`."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                response, body = await self._get(version)
        except TimeoutError as error:
            raise RefreshError("timeout", f"no complete response within {FETCH_SECONDS:g} s") from error
        except (OSError, UnicodeError, h11.ProtocolError) as error:
            raise RefreshError("unreachable", _describe(error)) from error
        headers = dict(response.headers)
        max_age = _max_age(headers.get(b"cache-control", b""))
        if response.status_code == 304 and version:  # noqa: PLR2004 - RFC 9110 §15.4.5
            return FetchResult(None, version, max_age)
        if response.status_code != 200:  # noqa: PLR2004 - RFC 9110 §15.3.1
            raise RefreshError("status", f"the response is {response.status_code}; redirects are not followed")
        return FetchResult(body, headers.get(b"etag"), max_age)

    async def _get(self, version: bytes | None) -> tuple[h11.Response, bytes]:
        url = urlsplit(self.url)
        reader, writer = await self._connect(url)
        try:
            connection = h11.Connection(h11.CLIENT)
            writer.write(connection.send(self._request(url, version)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            return await self._receive(connection, reader)
        finally:
            writer.transport.abort()

    async def _connect(self, url: SplitResult) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first IP address of the host that accepts."""
        secure = url.scheme == "https"
        port, tls, name = url.port or (443 if secure else 80), self.ssl_context() if secure else None, url.hostname
        assert name
        failure = OSError("no IP address")
        for address in await look_up(name):
            try:
                return await asyncio.open_connection(address, port, ssl=tls, server_hostname=name if tls else None)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
        raise failure

    def _request(self, url: SplitResult, version: bytes | None) -> h11.Request:
        headers = [
            (b"Host", url.netloc.encode()),
            (b"Accept", self._accept.encode()),
            (b"Connection", b"close"),
        ]
        if version:
            headers.append((b"If-None-Match", version))
        return h11.Request(
            method="GET", target=(url.path or "/") + (f"?{url.query}" if url.query else ""), headers=headers
        )

    async def _receive(self, connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Response, bytes]:
        response: h11.Response | None = None
        body = bytearray()
        received = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(_READ_BYTES)
                received += len(data)
                if received > self._max_bytes + _HEAD_BYTES:
                    raise RefreshError("invalid", f"a response of more than {self._max_bytes + _HEAD_BYTES} bytes")
                connection.receive_data(data)
                # Reading buffered data does not suspend this task: give way to requests.
                await asyncio.sleep(0)
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._max_bytes:
                    raise RefreshError("invalid", f"larger than {self._max_bytes} bytes")
            elif isinstance(event, h11.EndOfMessage) and response is not None:
                return response, bytes(body)
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("connection closed before the end of the response")


def _describe(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate is not trusted ({error.verify_message})"
        case socket.gaierror() | UnicodeError():
            # UnicodeError: it cannot be a name, for example because of an empty label (RFC 1035 §2.3.4).
            return "the host name cannot be resolved"
        case _:
            return type(error).__name__


def _max_age(cache_control: bytes) -> float | None:
    """Return `max-age` of RFC 9111 §5.2.2.1 in seconds, or None without one."""
    directive = re.search(rb"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", cache_control, re.IGNORECASE)
    return float(directive[1]) if directive else None
