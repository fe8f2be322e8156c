"""An issuer's metadata, which names its key set: OpenID Connect Discovery 1.0 §4, RFC 8414 §3."""

import math
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from shared.jwks import MAX_DOCUMENT_BYTES
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_log import Change
from verifier.refresh.http_fetch import HttpSource
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import FetchResult, RefreshError, read_json
from verifier.urls import check_link, redact_url

MAX_METADATA_BYTES: Final = 256 * 1024
MAX_JWKS_URI_CHARACTERS: Final = 2048
JWKS_MEDIA_TYPES: Final = "application/jwk-set+json, application/json"

# `max-age` is not followed: after a key set has moved, tokens of its new keys are rejected until the next refresh.
METADATA_SCHEDULE: Final = Schedule(
    interval=300, max_age_bounds=None, max_backoff=30, min_interval=0.5, request_interval=10
)


def build_metadata_source(url: str, ssl_context: Callable[[], ssl.SSLContext]) -> HttpSource:
    """Return the source of metadata at a URL, which was checked."""
    return HttpSource(url, "application/json", MAX_METADATA_BYTES, ssl_context)


def build_key_set_source(url: str, ssl_context: Callable[[], ssl.SSLContext]) -> HttpSource:
    """Return the source of a key set at a URL, which was checked."""
    return HttpSource(url, JWKS_MEDIA_TYPES, MAX_DOCUMENT_BYTES, ssl_context)


def read_jwks_uri(members: dict[str, Any], issuer: str, url: str, *, allow_http: bool) -> str:
    """Return the URL of the key set that the metadata of `issuer` at `url` name.

    Raises:
        RefreshError: they are of another issuer, or name no URL that may be fetched.
    """
    # Compared character by character (RFC 8414 §3.3, OpenID Connect Discovery 1.0 §4.3): metadata of another issuer
    # would make that issuer's keys valid for this one.
    if members.get("issuer") != issuer:
        raise RefreshError("invalid", f"its issuer is {escape(members.get('issuer'))}, which must be {issuer!r}")
    jwks_uri = members.get("jwks_uri")
    if type(jwks_uri) is not str or len(jwks_uri) > MAX_JWKS_URI_CHARACTERS:
        raise RefreshError("invalid", f"no jwks_uri of at most {MAX_JWKS_URI_CHARACTERS} characters")
    if problem := check_link(jwks_uri, url, allow_http=allow_http):
        raise RefreshError("invalid", f"jwks_uri {escape(redact_url(jwks_uri))}: {problem}")
    return jwks_uri


def escape(value: object) -> str:
    """Return an untrusted string as it may be printed: escaped and shortened."""
    return ascii(value[:200]) if isinstance(value, str) else "not a string"


class MetadataDocument(Document[str]):
    """The metadata of one issuer. The value is the URL of its key set, and does not expire: the keys do.

    Args:
        allow_http: a key set may be at a plain http URL.
        on_move: called when the URL of the key set has changed.
    """

    def __init__(
        self,
        issuer: str,
        source: HttpSource,
        options: DocumentOptions,
        *,
        allow_http: bool,
        on_move: Callable[[], None],
    ) -> None:
        super().__init__(source, options, issuer)
        self._http_source, self._allow_http, self._on_move = source, allow_http, on_move
        self._known_uri: str | None = None

    async def parse(self, body: bytes) -> str:
        """Read the URL of the key set."""
        members = read_json(body, MAX_METADATA_BYTES)
        return read_jwks_uri(members, self._issuer, self._http_source.url, allow_http=self._allow_http)

    def expiry(self, value: str, validated_at: float) -> float:
        """Return infinity: metadata never expire."""
        del value, validated_at
        return math.inf

    def on_change(self, change: Change) -> None:
        """Call `on_move` if the URL has changed; not during the first attempt, since keys are fetched after it."""
        del change
        if self.value != self._known_uri and self.attempted.is_set():
            self._on_move()
        self._known_uri = self.value

    def log_fields(self) -> dict[str, object]:
        """Return the URL of the key set in use."""
        return {"jwks_uri": redact_url(self.value)} if self.value else {}

    def key_set_source(self) -> HttpSource | None:
        """Return the source of the key set that the metadata names, or None without metadata."""
        if self.value is None:
            return None
        return build_key_set_source(self.value, self._http_source.ssl_context)


class DiscoveredKeySet:
    """A source: the key set that an issuer's metadata names at the moment."""

    def __init__(self, metadata: MetadataDocument) -> None:
        self._metadata = metadata

    async def fetch(self, version: bytes | None) -> FetchResult:
        """Fetch the key set once, after the first attempt to fetch the metadata."""
        await self._metadata.attempted.wait()
        source = self._metadata.key_set_source()
        if source is None:
            raise RefreshError("metadata", "the issuer's metadata is not available")
        # An entity tag has a meaning only at the URL that gave it.
        prefix = source.url.encode() + b" "
        known = version[len(prefix) :] if version and version.startswith(prefix) else None
        try:
            result = await source.fetch(known)
        except RefreshError:
            # The key set may have moved.
            self._metadata.request_refresh()
            raise
        return replace(result, version=prefix + result.version if result.version else None)
