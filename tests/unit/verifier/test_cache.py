"""Two generations: what is asked for stays, what is not goes all at once, and the sizes add up."""

from verifier.cache import ENTRY_BYTES, CachedDecision, DecisionCache


def decision(answer: bytes) -> CachedDecision:
    return CachedDecision(answer, 0, 1, None, 0)


def test_what_is_asked_for_outlives_what_is_not() -> None:
    cache = DecisionCache(4, 2**20)
    for key in (b"a", b"b", b"c"):  # a and b are the old generation now
        cache.put(key, decision(key))
    assert cache.get_young(b"a") is None
    assert cache.get(b"a") == cache.get_young(b"a") == decision(b"a")
    cache.put(b"d", decision(b"d"))
    assert cache.get(b"b") is None
    assert cache.get(b"a") is not None
    assert cache.evicted == 1


def test_the_size_is_that_of_what_is_held_wherever_it_is() -> None:
    cache = DecisionCache(4, 2**20)
    for key in (b"a", b"b", b"c"):
        cache.put(key, decision(key * 100))
    assert cache.size == 3 * (ENTRY_BYTES + 100)
    cache.get(b"a")
    assert cache.size == 3 * (ENTRY_BYTES + 100)
    cache.put(b"b", decision(b""))
    assert cache.size == 3 * ENTRY_BYTES + 200
    cache.discard(b"c")
    cache.discard(b"a")
    assert cache.size == ENTRY_BYTES * len(cache)


def test_a_decision_larger_than_its_room_is_not_kept() -> None:
    cache = DecisionCache(10, 2 * (ENTRY_BYTES + 100))
    cache.put(b"a", decision(b"x" * 101))
    assert len(cache) == cache.size == 0
    cache.put(b"a", decision(b"x" * 100))
    assert len(cache) == 1
