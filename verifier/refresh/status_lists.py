"""The status lists of one issuer: a document for its aggregation, and one for each list that the aggregation names.

A list is trusted because of its signature and `sub`, not its URL, so it is fetched by its URI's path and query from
the server of the aggregation: inside a cluster or behind a proxy an issuer has another URL than its tokens say.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog

from shared.status_list import MAX_LIST_TOKEN_BYTES, STATUS_LIST_MEDIA_TYPE
from verifier.decision.keyset import TrustedKeys
from verifier.decision.status import CurrentStatusList
from verifier.decision.status_list_token import StatusList, StatusListRejection, read_status_list
from verifier.refresh.aggregation import MAX_AGGREGATION_BYTES, Aggregation, parse_aggregation
from verifier.refresh.document import Document, DocumentOptions
from verifier.refresh.document_log import Change
from verifier.refresh.http_fetch import HttpSource
from verifier.refresh.source import RefreshError
from verifier.urls import redact_url

MAX_BYTES_PER_ISSUER: Final = 64 * 2**20
STALE_AFTER_POLLS: Final = 3
"""Polls in a row that may fail before a list is stale, if its `ttl` does not allow for more."""
_MAX_CONCURRENT_FETCHES: Final = 16
_DECODE_POOL: Final = ThreadPoolExecutor(1, "status-lists")
"""Reading the largest list takes 13 ms, for which no request should wait."""

_log = structlog.get_logger()


class IssuerLists:
    """The lists of one issuer.

    Args:
        issuer: whose keys must have signed the lists.
        source: of its aggregation.
        document_options: returns the options of a document, by suffix, size limit and names of its cache file.
        stale_seconds: how long a list is valid at least after its source confirmed it; None: until its `exp`.
        publish: called when the lists have changed.
        request_key_refresh: called when a list names an unknown key; must not block.

    Attributes:
        keys: of all issuers, as they are now.
        aggregation: names the lists.
        lists: by URI.
        fetch_slots: bounds how many lists are fetched at once.
        keys_available: set when there is a key to verify lists by; before, none is fetched.
    """

    def __init__(
        self,
        issuer: str,
        source: HttpSource,
        *,
        document_options: Callable[..., DocumentOptions],
        stale_seconds: float | None,
        publish: Callable[[], None],
        request_key_refresh: Callable[[], None],
    ) -> None:
        self.issuer, self._source, self.document_options = issuer, source, document_options
        self.stale_seconds, self.publish, self.request_key_refresh = stale_seconds, publish, request_key_refresh
        self.keys = TrustedKeys()
        self.keys_available = asyncio.Event()
        self.fetch_slots = asyncio.Semaphore(_MAX_CONCURRENT_FETCHES)
        self.aggregation = _AggregationDocument(self, source)
        self.lists: dict[str, _StatusListDocument] = {}

    def inherit(self, previous: "IssuerLists") -> None:
        """Take over the documents of `previous`, which may have had another source."""
        self.aggregation.inherit(previous.aggregation)
        for uri, document in previous.lists.items():
            self._add(uri).inherit(document)

    def set_keys(self, keys: TrustedKeys) -> None:
        """Verify by these keys from now on. Drop lists whose key was removed, and fetch what is missing."""
        self.keys = keys
        held = [(uri, document.value) for uri, document in self.lists.items() if document.value is not None]
        removed = [uri for uri, value in held if not keys.contains(value.key)]
        for uri in removed:
            self.lists[uri].discard()
            _log.warning("status_list_removed", issuer=self.issuer, uri=uri, reason="its key was removed")
        if removed:
            self.publish()
        if self.issuer in keys.issuers:
            self.keys_available.set()
            self._request_missing()

    def request_refresh(self) -> None:
        """Refresh the aggregation, and the lists without a valid copy, soon. Does not block."""
        self.aggregation.request_refresh()
        self._request_missing()

    def is_ready(self) -> bool:
        """Return whether the status of tokens is known. Before its first token an issuer may have no list at all."""
        if self.aggregation.value is None:
            return False
        return not self.lists or any(document.current() is not None for document in self.lists.values())

    async def wait_until_attempted(self) -> None:
        """Wait until each document was attempted once. Without a key to verify lists by, return at once."""
        if self.keys_available.is_set():
            await self.aggregation.attempted.wait()
            for document in list(self.lists.values()):
                await document.attempted.wait()

    def current(self) -> dict[str, CurrentStatusList]:
        """Return the lists as decisions read them."""
        values = ((uri, document.value, document.valid_until) for uri, document in self.lists.items())
        return {uri: CurrentStatusList(one.octets, one.bits, until) for uri, one, until in values if one is not None}

    def count(self) -> int:
        """Return the number of lists that are held."""
        return sum(document.value is not None for document in self.lists.values())

    def held_bytes(self) -> int:
        """Return the size of all lists, decompressed."""
        return sum(len(document.value.octets) for document in self.lists.values() if document.value is not None)

    def refreshed_at(self) -> float:
        """Return when the oldest copy was last confirmed; 0 if one never was, NaN without an aggregation."""
        if self.aggregation.value is None:
            return math.nan
        return min([self.aggregation.validated_at, *(document.validated_at for document in self.lists.values())])

    def apply(self, aggregation: Aggregation) -> None:
        """Refresh the lists that the aggregation names, and no others."""
        for uri in self.lists.keys() - set(aggregation.uris):
            document = self.lists.pop(uri)
            document.stop()
            document.delete_cached()
            _log.info("status_list_removed", issuer=self.issuer, uri=uri, reason="no longer in the aggregation")
        for uri in aggregation.uris:
            if uri not in self.lists:
                self._add(uri).start()
        self.publish()

    def _add(self, uri: str) -> "_StatusListDocument":
        named, aggregation = urlsplit(uri), urlsplit(self._source.url)
        path = _path_on_server(named.path, self.issuer, aggregation.path)
        url = aggregation._replace(path=path, query=named.query).geturl()
        source = HttpSource(url, STATUS_LIST_MEDIA_TYPE, MAX_LIST_TOKEN_BYTES, self._source.ssl_context)
        document = self.lists[uri] = _StatusListDocument(self, uri, source)
        return document

    def _request_missing(self) -> None:
        for document in self.lists.values():
            if document.current() is None:
                document.request_refresh()


def _path_on_server(path: str, issuer: str, aggregation_path: str) -> str:
    """Return the path of a list on the server of the aggregation.

    A proxy in front of `https://app.example/auth` may remove `/auth`. An aggregation whose path lacks it is on a
    server behind that proxy.
    """
    prefix = issuer.partition("://")[2].partition("/")[2].rstrip("/")
    if prefix and path.startswith(f"/{prefix}/") and not aggregation_path.startswith(f"/{prefix}/"):
        return path.removeprefix(f"/{prefix}")
    return path


class _AggregationDocument(Document[Aggregation]):
    """The aggregation of one issuer."""

    def __init__(self, lists: IssuerLists, source: HttpSource) -> None:
        options = lists.document_options(".lists.json", MAX_AGGREGATION_BYTES, lists.issuer)
        super().__init__(source, options, lists.issuer, uri=redact_url(source.url))
        self._lists = lists

    async def run(self) -> None:
        await self._lists.keys_available.wait()
        await super().run()

    async def parse(self, body: bytes) -> Aggregation:
        return parse_aggregation(body)

    def expiry(self, value: Aggregation, validated_at: float) -> float:
        del value, validated_at
        return math.inf

    def on_change(self, change: Change) -> None:
        if self.value is not None and change is not Change.CONFIRMED:
            self._lists.apply(self.value)
            if invalid := self.value.invalid_entries:
                detail = f"the aggregation has {invalid} entries that are not the URI of a list"
                self._log_failure(RefreshError("entry", detail))

    def log_fields(self) -> dict[str, object]:
        return {"lists_in_use": self._lists.count()}


class _StatusListDocument(Document[StatusList]):
    """One status list."""

    def __init__(self, lists: IssuerLists, uri: str, source: HttpSource) -> None:
        options = lists.document_options(".jwt", MAX_LIST_TOKEN_BYTES, lists.issuer, uri)
        super().__init__(source, options, lists.issuer, uri=uri)
        self._lists, self._uri = lists, uri

    async def refresh(self) -> float:
        async with self._lists.fetch_slots:
            return await super().refresh()

    async def parse(self, body: bytes) -> StatusList:
        keys, now = self._lists.keys, self._now()
        read = partial(read_status_list, body, issuer=self._issuer, uri=self._uri, keys=keys, now=now)
        result = await asyncio.get_running_loop().run_in_executor(_DECODE_POOL, read)
        if isinstance(result, StatusListRejection):
            raise RefreshError(result, "not a valid status list of this issuer and URI")
        return result

    def merge(self, new: StatusList) -> StatusList:
        if not self._lists.keys.contains(new.key):
            raise RefreshError(StatusListRejection.UNKNOWN_KEY, "its key was removed while the list was verified")
        merged = newest(self.value, new)
        others = self._lists.held_bytes() - (0 if self.value is None else len(self.value.octets))
        if others + len(merged.octets) > MAX_BYTES_PER_ISSUER:
            raise RefreshError("too_many", f"more than {MAX_BYTES_PER_ISSUER} bytes of lists")
        return merged

    def expiry(self, value: StatusList, validated_at: float) -> float:
        stale_seconds = self._lists.stale_seconds
        if stale_seconds is None:
            return value.expires_at
        return min(value.expires_at, validated_at + max(value.ttl, stale_seconds))

    def on_change(self, change: Change) -> None:
        # A confirmation extends the validity only where lists become stale before their `exp`.
        if change is not Change.CONFIRMED or self._lists.stale_seconds is not None:
            self._lists.publish()

    def on_failure(self, error: RefreshError) -> None:
        if error.code == StatusListRejection.UNKNOWN_KEY:
            self._lists.request_key_refresh()

    def log_fields(self) -> dict[str, object]:
        return {"lists_in_use": self._lists.count()}


def newest(current: StatusList | None, new: StatusList) -> StatusList:
    """Return the newer list: an older list never replaces a newer one.

    Two processes of an issuer may publish within one second. Lists of the same second are joined: the result has the
    bits of both. Lists with different numbers of bits for each token cannot be joined. Processes of one issuer use
    the same number, so the later response is the later list.
    """
    if current is None or new.issued_at > current.issued_at:
        return new
    if new.issued_at < current.issued_at:
        return current
    if new.bits != current.bits:
        return new
    size = max(len(current.octets), len(new.octets))
    both = int.from_bytes(current.octets, "little") | int.from_bytes(new.octets, "little")
    joined = new._replace(octets=both.to_bytes(size, "little"))
    return current if joined == current else joined
