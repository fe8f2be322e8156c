"""Where status lists come from: an issuer's aggregation document and the lists that it names, one attempt at a time.

A list's URI is the name that tokens call it by. It is fetched by its path and query from where the aggregation
is: inside a cluster an issuer has another address than its tokens say, and what is believed of a list follows
from its signature and its `sub`, never from where it lay.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import SplitResult, urlsplit

from shared.status_list import MAX_LIST_TOKEN_BYTES, MAX_LISTS, STATUS_LIST_MEDIA_TYPE
from shared.strict_json import StrictJsonError, parse_object
from verifier.fetch import SourceError, Wanted, check_url, fetch, without_secrets
from verifier.keyset import KeySet
from verifier.policies import PolicyError
from verifier.status_list_token import ListFault, StatusList, read_status_list

MAX_AGGREGATION_BYTES: Final = 256 * 1024
MAX_URI_CHARACTERS: Final = 512
_READER: Final = ThreadPoolExecutor(1, "status-lists")
"""The largest list takes 13 ms to read, for which no request should wait."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The lists of one issuer (draft-ietf-oauth-status-list §9.3).

    Attributes:
        uris: of its lists, each once.
        skipped: how many entries are no such URI.
        document: as it was read.
    """

    uris: tuple[str, ...]
    skipped: int
    document: bytes


@dataclass(frozen=True, slots=True)
class ListReading:
    """A list that was verified, and the token that it came in, to be kept for a cold start."""

    status_list: StatusList
    token: bytes


class ListSource:
    """One status list of one issuer.

    Args:
        issuer: whose keys must have signed it.
        uri: what tokens call it by.
        url: where it is fetched.
        tls: for https.
    """

    def __init__(self, issuer: str, uri: str, url: SplitResult, tls: ssl.SSLContext) -> None:
        self._issuer, self._uri, self._tls = issuer, uri, tls
        self._wanted = Wanted(url, STATUS_LIST_MEDIA_TYPE, MAX_LIST_TOKEN_BYTES)
        self._etag: bytes | None = None

    def forget(self) -> None:
        """Fetch it whole the next time."""
        self._etag = None

    async def read(self, keys: Callable[[], KeySet]) -> ListReading | None:
        """Fetch it once; None if it is unchanged.

        Args:
            keys: gives those that count now; they may change meanwhile.

        Raises:
            SourceError: there was no list that we take. For one that was refused, `cause` is a `ListFault`.
        """
        answer = await fetch(self._wanted, self._tls, self._etag)
        if answer.document is None:
            return None
        judge = partial(read_status_list, issuer=self._issuer, uri=self._uri, keys=keys(), now=time.time())
        taken = await asyncio.get_running_loop().run_in_executor(_READER, judge, answer.document)
        if isinstance(taken, StatusList) and not keys().holds(taken.key):
            taken = ListFault.UNKNOWN_KEY
        if isinstance(taken, ListFault):
            raise SourceError(taken, "no status list of this issuer by this name")
        self._etag = answer.etag
        return ListReading(taken, answer.document)


class AggregationSource:
    """The aggregation document of one issuer.

    Args:
        issuer: whose it is.
        url: checked by `check_url` before.
        tls: for https.
    """

    def __init__(self, issuer: str, url: str, tls: ssl.SSLContext) -> None:
        self._issuer, self._tls = issuer, tls
        self._wanted = Wanted(urlsplit(url), "application/json", MAX_AGGREGATION_BYTES)
        self._etag: bytes | None = None

    async def read(self) -> Aggregation | None:
        """Fetch it once; None if it is unchanged.

        Raises:
            SourceError: there was no usable document.
        """
        answer = await fetch(self._wanted, self._tls, self._etag)
        if answer.document is None:
            return None
        aggregation = parse_aggregation(answer.document)
        self._etag = answer.etag
        return aggregation

    def list_source(self, uri: str) -> ListSource:
        """Where the list that tokens call `uri` is fetched."""
        named = urlsplit(uri)
        url = self._wanted.url._replace(path=named.path, query=named.query)
        return ListSource(self._issuer, uri, url, self._tls)


def parse_aggregation(document: bytes) -> Aggregation:
    """Read `{"status_lists": [URI, …]}`; entries that are no URI of a list are passed over.

    Raises:
        SourceError: it is no such document.
    """
    try:
        entries = parse_object(document).get("status_lists")
    except StrictJsonError as error:
        raise SourceError("refused", str(error)) from error
    if type(entries) is not list:
        raise SourceError("refused", 'no "status_lists" array')
    if len(entries) > MAX_LISTS:
        raise SourceError("refused", f"more than {MAX_LISTS} lists")
    uris = dict.fromkeys(entry for entry in entries if type(entry) is str and _is_list_uri(entry))
    skipped = sum(type(entry) is not str or entry not in uris for entry in entries)
    return Aggregation(tuple(uris), skipped, document)


def open_aggregations(
    urls: Mapping[str, str], tls: ssl.SSLContext, *, allow_http: bool
) -> dict[str, AggregationSource]:
    """The readers of what the settings or the policy file name, by issuer.

    Raises:
        PolicyError: a URL must not be trusted with status lists.
    """
    for url in urls.values():
        if fault := check_url(url, allow_http=allow_http):
            raise PolicyError(f"status list URL {without_secrets(url)!r}: {fault}")
    return {issuer: AggregationSource(issuer, url, tls) for issuer, url in urls.items()}


async def read_lists(source: AggregationSource, keys: KeySet) -> tuple[dict[str, StatusList], list[str]]:
    """Every list of one issuer, read once, by URI; and what was wrong with the others."""
    lists, faults = {}, []
    try:
        aggregation = await source.read()
    except SourceError as error:
        return {}, [f"status lists: {error}"]
    assert aggregation is not None
    if aggregation.skipped:
        faults.append(f"status lists: {aggregation.skipped} entries that are no URI of a list")
    for uri in aggregation.uris:
        try:
            reading = await source.list_source(uri).read(lambda: keys)
        except SourceError as error:
            faults.append(f"status list {uri}: {error} ({error.cause})")
        else:
            assert reading is not None
            lists[uri] = reading.status_list
    return lists, faults


def _is_list_uri(entry: str) -> bool:
    # Whether plain http may be spoken was settled for the aggregation, where the list is fetched.
    return len(entry) <= MAX_URI_CHARACTERS and check_url(entry, allow_http=True) is None
