"""The key set of one issuer, as a document from a file, from a URL, or from where the issuer's metadata says."""

import math
import ssl
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from shared.jwks import MAX_DOCUMENT_BYTES, OWN_ALGORITHMS, JwksError, JwkSet, parse_jwks
from verifier.policy_file import JwksLocation
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_log import Change
from verifier.refresh.file_source import FileSource
from verifier.refresh.metadata import DiscoveredKeySet, MetadataDocument, build_key_set_source
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import RefreshError, Source

# A token with an unknown key requests a refresh, and any client can make up such tokens (specs/adr/0113).
_URL_SCHEDULE: Final = Schedule(
    interval=300, max_age_bounds=(10, 3600), max_backoff=30, min_interval=0.5, request_interval=10
)
_FILE_SCHEDULE: Final = Schedule(interval=1, max_age_bounds=None, max_backoff=1, min_interval=1)


@dataclass(frozen=True, slots=True)
class KeySource:
    """The source of one issuer's key set. Keys of a `remote` one are cached, and expire while it is unreachable.

    Keys for other `algorithms` are skipped.
    """

    source: Source
    remote: bool
    algorithms: AbstractSet[str] = OWN_ALGORITHMS

    @property
    def schedule(self) -> Schedule:
        """When to refresh the key set."""
        return _URL_SCHEDULE if self.remote else _FILE_SCHEDULE


def build_key_source(
    location: JwksLocation,
    ssl_context: ssl.SSLContext,
    metadata: MetadataDocument | None = None,
    algorithms: AbstractSet[str] = OWN_ALGORITHMS,
) -> KeySource:
    """Return the source at a location of the configuration, which has checked the URL.

    Args:
        location: of the key set.
        ssl_context: for https.
        metadata: of the issuer, if the location is that of its metadata.
        algorithms: keys for others are skipped.
    """
    if metadata is not None:
        return KeySource(DiscoveredKeySet(metadata), remote=True, algorithms=algorithms)
    if location.file is not None:
        return KeySource(FileSource(location.file, MAX_DOCUMENT_BYTES), remote=False, algorithms=algorithms)
    assert location.url is not None
    return KeySource(build_key_set_source(location.url, ssl_context), remote=True, algorithms=algorithms)


class KeySetDocument(Document[JwkSet]):
    """The key set of one issuer.

    Args:
        issuer: of the keys.
        source: of the document.
        options: of the document.
        max_stale_seconds: how long keys of a URL are valid after its last good response.
        publish: called when the valid keys have changed.
    """

    def __init__(
        self,
        issuer: str,
        source: KeySource,
        options: DocumentOptions,
        max_stale_seconds: float,
        publish: Callable[[], None],
    ) -> None:
        super().__init__(source.source, options, issuer)
        self.algorithms = source.algorithms
        self._valid_seconds = max_stale_seconds if source.remote else math.inf
        self._publish = publish

    async def parse(self, body: bytes) -> JwkSet:
        """Read a JWK Set."""
        try:
            return parse_jwks(body, self.algorithms)
        except JwksError as error:
            raise RefreshError("invalid", str(error)) from error

    def expiry(self, value: JwkSet, validated_at: float) -> float:
        """Return when the keys expire, which those of a file never do."""
        del value
        return validated_at + self._valid_seconds

    def on_change(self, change: Change) -> None:
        """Publish the keys, unless they are as they were."""
        if change is not Change.CONFIRMED:
            self._publish()

    def log_fields(self) -> dict[str, object]:
        """Return the keys in use."""
        current = self.current()
        fields: dict[str, object] = {"kids": sorted(current.keys), "skipped": current.skipped} if current else {}
        return {"keys_in_use": self.key_count(), **fields}

    def refreshed_at(self) -> float:
        """Return when the key set was last confirmed, in seconds since the epoch; NaN if never."""
        return self.validated_at or math.nan

    def key_count(self) -> int:
        """Return the number of valid keys."""
        current = self.current()
        return len(current.keys) if current else 0
