"""The least recently used decisions are evicted first, and the sizes are counted."""

from prometheus_client import Counter

from shared.claims import StatusReference
from verifier.subrequest.decision_cache import ENTRY_OVERHEAD_BYTES, CachedDecision, DecisionCache

_HITS = Counter("test_hits", "Not registered.", registry=None)


def decision(response: bytes) -> CachedDecision:
    return CachedDecision(response, 0, 1, None, _HITS)


def test_the_least_recently_used_decision_is_evicted() -> None:
    evictions: list[None] = []
    cache = DecisionCache(3, 2**20, lambda: evictions.append(None))
    for key in (b"a", b"b", b"c"):
        cache.store(key, decision(key))
    assert cache.get(b"a") == decision(b"a")
    cache.store(b"d", decision(b"d"))
    assert cache.get(b"b") is None
    assert [cache.get(key) for key in (b"a", b"c", b"d")] == [decision(key) for key in (b"a", b"c", b"d")]
    assert len(evictions) == 1


def test_replacing_and_discarding_a_decision_evicts_nothing() -> None:
    evictions: list[None] = []
    cache = DecisionCache(2, 2**20, lambda: evictions.append(None))
    for key in (b"a", b"b", b"a", b"b"):
        cache.store(key, decision(key))
    cache.discard(b"a")
    cache.discard(b"never stored")
    cache.clear()
    assert evictions == []


def test_the_size_is_that_of_the_entries() -> None:
    cache = DecisionCache(4, 2**20)
    for key in (b"a", b"b", b"c"):
        cache.store(key, decision(key * 100))
    assert cache.size_bytes == 3 * (ENTRY_OVERHEAD_BYTES + 100)
    cache.store(b"b", decision(b""))
    assert cache.size_bytes == 3 * ENTRY_OVERHEAD_BYTES + 200
    cache.discard(b"c")
    assert cache.size_bytes == 2 * ENTRY_OVERHEAD_BYTES + 100
    cache.clear()
    assert len(cache) == cache.size_bytes == 0


def test_the_oldest_decision_is_discarded_over_the_limit_of_bytes() -> None:
    cache = DecisionCache(100, 2 * (ENTRY_OVERHEAD_BYTES + 100))
    for key in (b"a", b"b", b"c"):
        cache.store(key, decision(b"x" * 100))
    assert [cache.get(key) is not None for key in (b"a", b"b", b"c")] == [False, True, True]


def test_the_uri_of_a_status_list_is_counted() -> None:
    cache = DecisionCache(100, 10_000)
    for number in range(100):
        status = StatusReference(
            "https://issuer.example", f"https://issuer.example/{number}".ljust(4000, "x"), number
        )
        cache.store(b"%d" % number, CachedDecision(b"", 0, 1, status, _HITS))
    assert len(cache) == 2


def test_a_decision_larger_than_the_cache_is_not_stored_and_evicts_nothing() -> None:
    cache = DecisionCache(10, ENTRY_OVERHEAD_BYTES + 100)
    cache.store(b"a", decision(b"x" * 100))
    cache.store(b"b", decision(b"x" * 101))
    assert len(cache) == 1
    assert cache.get(b"a") is not None
