"""Whether the audit trail is as it was written. No I/O: the events come in, the faults come out.

Each event's hash covers its content and the hash before it in its chain, so what was altered, taken out, put in
or moved shows here. The hashes are computed again in this process: the database's own functions may be what was
tampered with. Who can write the whole trail anew, or cuts its end off, is found by heads that were noted
elsewhere before (`audit heads`). ADR 0051.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_BEGINNING: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    """An event as far as its chain is concerned.

    Attributes:
        chain: which chain.
        position: its place in it, from 1 on without gaps.
        content: everything else that the event says, in the one form that is hashed.
        previous_hash: of the event before it.
        hash: SHA-256 of `previous_hash` and `content`.
    """

    chain: int
    position: int
    content: str
    previous_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a chain at some moment."""

    chain: int
    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where."""

    chain: int
    position: int
    what: str


class ChainCheck:
    """Checks links that come chain by chain, each in the order of positions.

    Args:
        heads: what was noted of the chains before, at any time.
    """

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self.checked = 0
        self._noted = {(head.chain, head.position): head.hash for head in heads}
        self._last: dict[int, Head] = {}

    def faults(self, link: Link) -> Iterator[Fault]:
        """What is wrong with `link`, if anything."""
        before = self._last.get(link.chain, Head(link.chain, 0, _BEGINNING))
        self._last[link.chain] = Head(link.chain, link.position, link.hash)
        self.checked += 1
        if link.position != before.position + 1:
            yield Fault(link.chain, before.position + 1, f"missing: the next event is {link.position}")
        elif link.previous_hash != before.hash:
            yield Fault(link.chain, link.position, "does not follow the event before it: moved, put in or replaced")
        if hashlib.sha256(link.previous_hash + link.content.encode()).digest() != link.hash:
            yield Fault(link.chain, link.position, "altered: its hash is that of something else")
        if self._noted.pop((link.chain, link.position), link.hash) != link.hash:
            yield Fault(link.chain, link.position, "not the event that was noted: the chain was written anew")

    def missing_heads(self) -> Iterator[Fault]:
        """After the last link: the noted heads that never came."""
        for chain, position in sorted(self._noted):
            end = self._last[chain].position if chain in self._last else 0
            yield Fault(chain, position, f"missing: it was noted, and the chain ends at {end}")
