"""An issuer's status list aggregation: the names of its lists (draft-ietf-oauth-status-list §9.3)."""

from dataclasses import dataclass
from typing import Final

from shared.status_list import MAX_LISTS
from verifier.refresh.source import RefreshError, read_json
from verifier.urls import check_url

MAX_AGGREGATION_BYTES: Final = 256 * 1024
MAX_URI_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The lists of one issuer.

    Attributes:
        uris: of its lists, each once.
        invalid_entries: how many entries are no URI of a list.
    """

    uris: tuple[str, ...]
    invalid_entries: int


def parse_aggregation(body: bytes) -> Aggregation:
    """Read `{"status_lists": [URI, …]}`; entries that are no URI of a list are skipped.

    Raises:
        RefreshError: it is too large, or no aggregation.
    """
    entries = read_json(body, MAX_AGGREGATION_BYTES).get("status_lists")
    if type(entries) is not list:
        raise RefreshError("invalid", 'no "status_lists" array')
    if len(entries) > MAX_LISTS:
        raise RefreshError("invalid", f"more than {MAX_LISTS} lists")
    uris = dict.fromkeys(entry for entry in entries if type(entry) is str and _is_list_uri(entry))
    invalid = sum(type(entry) is not str or entry not in uris for entry in entries)
    return Aggregation(tuple(uris), invalid)


def _is_list_uri(entry: str) -> bool:
    # Plain http is accepted here: a list is fetched from the server of the aggregation, and that URL was checked.
    return len(entry) <= MAX_URI_CHARACTERS and check_url(entry, allow_http=True) is None
