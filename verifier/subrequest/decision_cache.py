"""Cached decisions, evicted least recently used first, bounded by entries and by bytes. No token is stored."""

from collections.abc import Callable
from sys import getsizeof
from typing import Final, NamedTuple

from cachetools import LRUCache
from prometheus_client import Counter

from shared.claims import StatusReference


class CachedDecision(NamedTuple):
    """A ready 200 response and the conditions under which it may be sent again.

    Attributes:
        response: the bytes on the wire.
        valid_from: not before this time (seconds since the epoch).
        valid_until: only before this time.
        status: the status list entry to check each time, if the token has one.
        hits: counts each use.
    """

    response: bytes
    valid_from: float
    valid_until: float
    status: StatusReference | None
    hits: Counter


ENTRY_OVERHEAD_BYTES: Final = 896
"""Estimated memory of an entry beside its response: digest, tuple, numbers, its share of three dictionaries."""


class DecisionCache:
    """A bounded mapping of digest to `CachedDecision`.

    Args:
        max_entries: 0 turns the cache off.
        max_bytes: by the estimate `ENTRY_OVERHEAD_BYTES` + response + URI of the status list.
        on_evict: called for each decision that is evicted to make room.
    """

    def __init__(self, max_entries: int, max_bytes: int, on_evict: Callable[[], object] = lambda: None) -> None:
        self.max_entries, self.max_bytes, self._on_evict = max_entries, max_bytes, on_evict
        self.clear()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """The estimated bytes of all entries."""
        return int(self._entries.currsize)

    def clear(self) -> None:
        """Invalidate all decisions, in one step: emptying entry by entry would hold up the event loop."""
        self._entries = _Entries(self.max_bytes, self._on_evict)
        # The mapping's own method, since a method around it would cost every request another call.
        self.get: Callable[[bytes], CachedDecision | None] = self._entries.get

    def store(self, key: bytes, decision: CachedDecision) -> None:
        """Store `decision`, evicting the least recently used; one larger than the cache is not stored."""
        if not self.max_entries or _entry_bytes(decision) > self.max_bytes:
            return
        entries = self._entries
        if len(entries) >= self.max_entries and key not in entries:
            entries.popitem()
        entries[key] = decision

    def discard(self, key: bytes) -> None:
        """Drop one decision, such as one that has expired."""
        self._entries.pop(key, None)


class _Entries(LRUCache[bytes, CachedDecision]):
    """An `LRUCache` bounded by bytes that reports its evictions."""

    def __init__(self, max_bytes: int, on_evict: Callable[[], object]) -> None:
        super().__init__(max_bytes, getsizeof=_entry_bytes)
        self._on_evict = on_evict

    def popitem(self) -> tuple[bytes, CachedDecision]:
        """Evict the least recently used entry."""
        self._on_evict()
        return super().popitem()


def _entry_bytes(decision: CachedDecision) -> int:
    # The URI is counted although tokens with the same one share it: every token of a hostile issuer may have another.
    uri_bytes = 0 if decision.status is None else getsizeof(decision.status.uri)
    return ENTRY_OVERHEAD_BYTES + len(decision.response) + uri_bytes
