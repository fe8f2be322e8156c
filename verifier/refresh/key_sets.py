"""The key set of one issuer, as a document from a file, from a URL, or from the URL in the issuer's metadata."""

import math
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from shared.jwks import JwksError, JwkSet, parse_jwks
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_log import Change
from verifier.refresh.schedule import Schedule
from verifier.refresh.source import RefreshError, Source

# A token with an unknown key requests a refresh, and any client can invent such tokens (specs/adr/0113).
URL_SCHEDULE: Final = Schedule(
    interval=300, max_age_bounds=(10, 3600), max_backoff=30, min_interval=0.5, request_interval=10
)
FILE_SCHEDULE: Final = Schedule(interval=1, max_age_bounds=None, max_backoff=1, min_interval=1)


class KeySetDocument(Document[JwkSet]):
    """The key set of one issuer.

    Args:
        algorithms: keys for others are skipped.
        valid_seconds: how long keys are valid after the last good response of the source.
        publish: called when the valid keys have changed.
    """

    def __init__(
        self,
        issuer: str,
        source: Source,
        options: DocumentOptions,
        *,
        algorithms: AbstractSet[str],
        valid_seconds: float,
        publish: Callable[[], None],
    ) -> None:
        super().__init__(source, options, issuer)
        self._algorithms, self._valid_seconds, self._publish = algorithms, valid_seconds, publish

    async def parse(self, body: bytes) -> JwkSet:
        """Read a JWK Set."""
        try:
            return parse_jwks(body, self._algorithms)
        except JwksError as error:
            raise RefreshError("invalid", str(error)) from error

    def expiry(self, value: JwkSet, validated_at: float) -> float:
        """Return when the keys expire."""
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
