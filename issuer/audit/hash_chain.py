"""Verification of the audit trail's hash chains. No I/O: events in, faults out.

Each event's hash covers its content and the previous hash of its chain, so altered, removed, inserted and moved
events are detected. The hashes are computed here and not in the database, whose functions may have been altered too.
Heads that were exported earlier (`audit heads`) reveal a chain that was rewritten as a whole, or lost its end.
ADR 0051.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_BEGINNING: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """An event in a hash chain.

    Attributes:
        chain: number of the chain.
        position: number of the event in the chain, from 1 without gaps.
        content: all other columns of the event, in the form that is hashed.
        previous_hash: of the event before it.
        hash: SHA-256 of `previous_hash` and `content`.
    """

    chain: int
    position: int
    content: str
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last event of a chain at one moment."""

    chain: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainFault:
    """A violation of a hash chain and its position."""

    chain: int
    position: int
    what: str


class ChainVerifier:
    """Verifier of hash chains. It takes the events chain by chain, in the order of their positions.

    Args:
        heads: chain heads that were exported earlier.
    """

    def __init__(self, heads: Iterable[ChainHead] = ()) -> None:
        self.checked = 0
        self._exported = {(head.chain, head.position): head.hash for head in heads}
        self._last: dict[int, ChainHead] = {}

    def faults(self, event: ChainedEvent) -> Iterator[ChainFault]:
        """Yield the faults of `event`."""
        chain, position = event.chain, event.position
        previous = self._last.get(chain, ChainHead(chain, 0, _BEGINNING))
        self._last[chain] = ChainHead(chain, position, event.hash)
        self.checked += 1
        if position != previous.position + 1:
            yield ChainFault(chain, previous.position + 1, f"missing: the next event is {position}")
        elif event.previous_hash != previous.hash:
            yield ChainFault(chain, position, "does not follow the previous event: moved, inserted or replaced")
        if hashlib.sha256(event.previous_hash + event.content.encode()).digest() != event.hash:
            yield ChainFault(chain, position, "altered: its hash does not match its content")
        if self._exported.pop((chain, position), event.hash) != event.hash:
            yield ChainFault(chain, position, "differs from the exported head: the chain was rewritten")

    def missing_heads(self) -> Iterator[ChainFault]:
        """Yield a fault for each exported head that no event matched. Call it after the last event."""
        for chain, position in sorted(self._exported):
            end = self._last[chain].position if chain in self._last else 0
            yield ChainFault(chain, position, f"missing: it was exported, and the chain ends at {end}")
