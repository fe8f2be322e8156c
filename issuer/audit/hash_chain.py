"""Verification of the audit trail's hash chains. No I/O: events in, faults out.

Each event's hash covers its content and the previous hash of its chain, so altered, removed, inserted and moved
events are found. The hashes are computed here and not in the database, whose functions may have been altered too.
An attacker who rewrites a whole chain or removes its end is found by heads that were exported before
(`audit heads`). ADR 0051.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_BEGINNING: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class ChainedEvent:
    """An event with its place in a hash chain.

    Attributes:
        chain: number of the chain.
        position: place in the chain, from 1 without gaps.
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
    """Verifier of events that arrive chain by chain, in the order of their positions.

    Args:
        heads: chain heads that were exported earlier.
    """

    def __init__(self, heads: Iterable[ChainHead] = ()) -> None:
        self.checked = 0
        self._noted = {(head.chain, head.position): head.hash for head in heads}
        self._last: dict[int, ChainHead] = {}

    def faults(self, link: ChainedEvent) -> Iterator[ChainFault]:
        """Yield the faults of `link`."""
        before = self._last.get(link.chain, ChainHead(link.chain, 0, _BEGINNING))
        self._last[link.chain] = ChainHead(link.chain, link.position, link.hash)
        self.checked += 1
        if link.position != before.position + 1:
            yield ChainFault(link.chain, before.position + 1, f"missing: the next event is {link.position}")
        elif link.previous_hash != before.hash:
            yield ChainFault(
                link.chain, link.position, "does not follow the previous event: moved, inserted or replaced"
            )
        if hashlib.sha256(link.previous_hash + link.content.encode()).digest() != link.hash:
            yield ChainFault(link.chain, link.position, "altered: its hash does not match its content")
        if self._noted.pop((link.chain, link.position), link.hash) != link.hash:
            yield ChainFault(link.chain, link.position, "differs from the exported head: the chain was rewritten")

    def missing_heads(self) -> Iterator[ChainFault]:
        """Yield the exported heads that were missing, after the last event."""
        for chain, position in sorted(self._noted):
            end = self._last[chain].position if chain in self._last else 0
            yield ChainFault(chain, position, f"missing: it was exported, and the chain ends at {end}")
