"""Decisions already made, bounded by count and by bytes. Keys are digests: no token is kept.

Two generations approximate least-recently-used at the price of one dictionary look-up per hit: entries are
born in the young one and move there again when they are found in the old one; when the young one is full it
becomes the old one, and what was not asked for since is let go all at once.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from verifier.status import StatusReference


class CachedDecision(NamedTuple):
    """A ready 200 and the only conditions on which it may be given again.

    Attributes:
        answer: the bytes on the wire.
        valid_from: not before this time (seconds since the epoch).
        valid_until: only before this time.
        status: the revocation bit to look at each time, if the token has one.
        counter: the metric that counts each time it is given again.
    """

    answer: bytes
    valid_from: float
    valid_until: float
    status: StatusReference | None
    counter: int


ENTRY_BYTES: Final = 512
"""What an entry is taken to cost beside its answer: digest, tuple, numbers, its share of the dictionary. It errs
on the safe side: 40,000 entries took 670 bytes each, with their answers of 290."""


class DecisionCache:
    """Digest → `CachedDecision`.

    Args:
        entries: at most so many.
        size: at most so many bytes, by the estimate `ENTRY_BYTES` + answer.
    """

    def __init__(self, entries: int, size: int) -> None:
        self.max_entries, self.max_size = entries, size
        self._entries = entries // 2
        self._size = size // 2
        self.evicted = 0
        self._young: dict[bytes, CachedDecision] = {}
        self._old: dict[bytes, CachedDecision] = {}
        self._young_size = self._old_size = 0
        self.get_young: Callable[[bytes], CachedDecision | None] = self._young.get
        """`get` for those that have no time, at the price that entries of the old generation are missed."""

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    @property
    def size(self) -> int:
        """Bytes held, as estimated."""
        return self._young_size + self._old_size

    def get(self, key: bytes) -> CachedDecision | None:
        """What was decided, if it is still here. The conditions are the caller's to check."""
        found = self._young.get(key)
        if found is None and self._old and (found := self._old.pop(key, None)) is not None:
            self._old_size -= _cost(found)
            self.put(key, found)
        return found

    def put(self, key: bytes, decision: CachedDecision) -> None:
        """Remember `decision`, letting older ones go if there is no room; not one that takes all there is."""
        self.discard(key)
        cost = _cost(decision)
        if not self._entries or cost > self._size:
            return
        if len(self._young) >= self._entries or self._young_size + cost > self._size:
            self.evicted += len(self._old)
            self._old, self._old_size = self._young.copy(), self._young_size
            self._young.clear()
            self._young_size = 0
        self._young[key] = decision
        self._young_size += cost

    def discard(self, key: bytes) -> None:
        """Forget one decision, such as one that has expired."""
        if (known := self._young.pop(key, None)) is not None:
            self._young_size -= _cost(known)
        if (known := self._old.pop(key, None)) is not None:
            self._old_size -= _cost(known)

    def clear(self) -> None:
        """Forget everything: keys went away, or policies changed."""
        self._young.clear()
        self._old.clear()
        self._young_size = self._old_size = 0


def _cost(decision: CachedDecision) -> int:
    return ENTRY_BYTES + len(decision.answer)
