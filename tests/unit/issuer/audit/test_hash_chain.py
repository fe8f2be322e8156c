"""Faults that the verification of hash chains reports."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from issuer.audit.hash_chain import ChainedEvent, ChainHead, ChainVerifier


def chain_of(contents: Sequence[str], chain: int = 0) -> list[ChainedEvent]:
    links: list[ChainedEvent] = []
    previous = bytes(32)
    for position, content in enumerate(contents, 1):
        own = hashlib.sha256(previous + content.encode()).digest()
        links.append(ChainedEvent(chain, position, content, previous, own))
        previous = own
    return links


def faults(links: Iterable[ChainedEvent], heads: Iterable[ChainHead] = ()) -> list[tuple[int, int, str]]:
    check = ChainVerifier(heads)
    found = [fault for link in links for fault in check.faults(link)]
    return [(fault.chain, fault.position, fault.what.split(":")[0]) for fault in [*found, *check.missing_heads()]]


def head(link: ChainedEvent) -> ChainHead:
    return ChainHead(link.chain, link.position, link.hash)


GOOD = chain_of("abcde")


def test_unaltered_chains_verify() -> None:
    assert faults([*GOOD, *chain_of("xyz", chain=5)], [head(GOOD[2]), head(GOOD[-1])]) == []


def test_an_altered_event_is_found() -> None:
    assert faults([*GOOD[:2], replace(GOOD[2], content="C"), *GOOD[3:]]) == [(0, 3, "altered")]


def test_an_altered_event_with_a_new_hash_is_found_by_the_next_event() -> None:
    forged = replace(GOOD[2], content="C", hash=hashlib.sha256(GOOD[1].hash + b"C").digest())
    assert faults([*GOOD[:2], forged, *GOOD[3:]]) == [(0, 4, "does not follow the previous event")]


def test_a_missing_event_is_found_at_any_position() -> None:
    assert faults(GOOD[1:]) == [(0, 1, "missing")]
    assert faults([*GOOD[:2], *GOOD[3:]]) == [(0, 3, "missing")]


def test_a_removed_event_is_found_though_later_ones_are_renumbered() -> None:
    moved = [replace(link, position=link.position - 1) for link in GOOD[3:]]
    assert (0, 3, "does not follow the previous event") in faults([*GOOD[:2], *moved])


def test_two_swapped_events_are_found() -> None:
    swapped = [GOOD[0], replace(GOOD[2], position=2), replace(GOOD[1], position=3), *GOOD[3:]]
    assert [position for _, position, _ in faults(swapped)] == [2, 3, 4]


def test_an_inserted_event_is_found() -> None:
    extra = chain_of("abX")[2]
    moved = [replace(link, position=link.position + 1) for link in GOOD[2:]]
    assert faults([*GOOD[:2], extra, *moved])[0] == (0, 4, "does not follow the previous event")


def test_a_truncated_chain_is_found_only_by_a_saved_head() -> None:
    assert faults(GOOD[:3]) == []
    assert faults(GOOD[:3], [head(GOOD[4])]) == [(0, 5, "missing")]
    assert faults([], [head(GOOD[4])]) == [(0, 5, "missing")]


def test_a_rewritten_chain_is_found_only_by_a_saved_head() -> None:
    recomputed = chain_of("abCde")
    assert faults(recomputed) == []
    assert faults(recomputed, [head(GOOD[4])]) == [(0, 5, "differs from the exported head")]
