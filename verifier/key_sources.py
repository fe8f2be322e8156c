"""Where key sets come from: a file or a URL, one attempt at a time. When to try again is `key_refresh`'s.

Whatever the source does, an attempt ends within `fetch.FETCH_SECONDS` and within the size limit, away from the
request path, and in a `JwkSet` or a `SourceError`.
"""

import asyncio
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from shared.jwks import MAX_DOCUMENT_BYTES, JwksError, JwkSet, parse_jwks
from verifier.fetch import SourceError, Wanted, check_url, fetch, without_secrets
from verifier.policies import JwksSource, PolicyError

FILE_POLL_SECONDS: Final = 1.0
DEFAULT_MAX_AGE_SECONDS: Final = 300
_MAX_AGE_BOUNDS: Final = (10, 3600)
_ACCEPT: Final = "application/jwk-set+json, application/json"


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
        self._wanted, self._tls = Wanted(urlsplit(url), _ACCEPT, MAX_DOCUMENT_BYTES), tls
        self._etag: bytes | None = None

    async def read(self) -> Reading:
        """Fetch once."""
        answer = await fetch(self._wanted, self._tls, self._etag)
        next_seconds = _max_age(answer.cache_control)
        if answer.document is None:
            return Reading(None, b"", next_seconds)
        jwks = _parse(answer.document)
        self._etag = answer.etag
        return Reading(jwks, answer.document, next_seconds)


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
        raise PolicyError(f"key set URL {without_secrets(where.url)!r}: {fault}")
    return UrlSource(where.url, tls)


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


def _max_age(cache_control: bytes) -> float:
    """`max-age` of RFC 9111 §5.2.2.1, kept within bounds that neither hammer the issuer nor go blind."""
    directive = re.search(rb"(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])", cache_control, re.IGNORECASE)
    seconds = int(directive[1]) if directive else DEFAULT_MAX_AGE_SECONDS
    return float(min(max(seconds, _MAX_AGE_BOUNDS[0]), _MAX_AGE_BOUNDS[1]))
