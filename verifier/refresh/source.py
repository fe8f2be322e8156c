"""The interface of a source of documents, such as a URL or a file. Only one attempt is made at a time."""

from dataclasses import dataclass
from typing import Protocol

from shared.strict_json import JsonObject, StrictJsonError, parse_object


class RefreshError(Exception):
    """An attempt that gave no valid document. `code` is a short label from a closed set, for metrics."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class FetchResult:
    """The result of one successful attempt.

    Attributes:
        body: the document, or None if the source still has the version that the caller has.
        version: an opaque validator of this version (an entity tag), if the source has one.
        max_age_seconds: how long the source says that the document is fresh.
    """

    body: bytes | None
    version: bytes | None = None
    max_age_seconds: float | None = None


class Source(Protocol):
    """A place that has the current version of one document."""

    async def fetch(self, version: bytes | None) -> FetchResult:
        """Make one attempt, bounded in time and size.

        Args:
            version: of the document that the caller has, or None to get the document in any case.

        Raises:
            RefreshError: the attempt gave no usable document.
        """


def read_json(body: bytes, max_bytes: int) -> JsonObject:
    """Parse a document as a JSON object. Its size is checked here since a cached copy may be longer than the limit.

    Raises:
        RefreshError: larger than the limit, or not strict JSON.
    """
    if len(body) > max_bytes:
        raise RefreshError("invalid", f"larger than {max_bytes} bytes")
    try:
        return parse_object(body)
    except StrictJsonError as error:
        raise RefreshError("invalid", str(error)) from error
