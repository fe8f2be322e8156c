"""The pages of several workers are joined as each number demands, and survive their writers."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from verifier.metrics import LATENCY_BUCKETS, LatencyHistogram, Name, Pages


def test_what_is_counted_is_added_up_over_the_workers() -> None:
    pages = Pages(3)
    for worker in range(3):
        pages[worker].add(Name.DECISIONS, "default", "refused", "expired", amount=worker + 1)
    assert pages.joined()[Name.DECISIONS, ("default", "refused", "expired")] == 6


def test_the_worst_worker_speaks_for_keys_and_readiness() -> None:
    pages = Pages(2)
    pages[0].set(Name.READY, 1)
    pages[0].set(Name.JWKS_KEYS, 3, "issuer")
    pages[1].set(Name.JWKS_KEYS, 1, "issuer")
    assert pages.joined()[Name.READY, ()] == 0
    assert pages.joined()[Name.JWKS_KEYS, ("issuer",)] == 1
    pages[1].set(Name.READY, 1)
    assert pages.joined()[Name.READY, ()] == 1


def test_of_what_is_forgotten_nothing_is_told_until_it_is_set_again() -> None:
    pages = Pages(2)
    for worker in range(2):
        pages[worker].set(Name.JWKS_KEYS, 1, "issuer")
        pages[worker].forget(Name.JWKS_KEYS, "issuer")
    assert (Name.JWKS_KEYS, ("issuer",)) not in pages.joined()
    pages[0].set(Name.JWKS_KEYS, 2, "issuer")
    assert pages.joined()[Name.JWKS_KEYS, ("issuer",)] == 2


def test_what_has_no_labels_is_told_from_the_beginning() -> None:
    joined = Pages(2).joined()
    assert {name for name in Name if not name.value.labels} <= {name for name, _ in joined}
    assert joined[Name.RELOAD_FAILURES, ()] == 0
    assert joined[Name.WORKERS, ()] == 2


def test_a_successor_goes_on_counting_where_its_predecessor_was_killed() -> None:
    pages = Pages(1)
    before = pages[0]
    before.add(Name.JWKS_FAILURES, "issuer", "too large")
    before.add(Name.RELOAD_FAILURES)
    after = pages[0]
    after.add(Name.RELOAD_FAILURES)
    after.add(Name.JWKS_FAILURES, "issuer", "too large")
    assert pages.joined()[Name.JWKS_FAILURES, ("issuer", "too large")] == 2
    assert pages.joined()[Name.RELOAD_FAILURES, ()] == 2


def test_a_full_page_loses_new_names_and_keeps_its_numbers() -> None:
    pages = Pages(1)
    page = pages[0]
    page.add(Name.RELOAD_FAILURES)
    for number in range(3000):
        page.add(Name.JWKS_FAILURES, f"issuer {number}", "x")
    page.add(Name.RELOAD_FAILURES)
    joined = pages.joined()
    assert joined[Name.RELOAD_FAILURES, ()] == 2
    assert joined[Name.JWKS_FAILURES, ("issuer 1", "x")] == 1
    assert len(joined) <= 2048


def test_a_decision_from_the_cache_is_told_as_a_hit_as_well() -> None:
    pages = Pages(2)
    for worker in range(2):
        pages[worker].add(Name.DECISIONS, "default", "allowed", "cached", amount=2)
        pages[worker].add(Name.DECISIONS, "default", "allowed", "verified", amount=5)
    assert pages.joined()[Name.CACHE_HITS, ()] == 4


@pytest.mark.parametrize("seconds", [0, 1e-6, 3e-5, 0.5])
def test_a_duration_is_counted_in_its_bucket(seconds: float) -> None:
    pages = Pages(1)
    LatencyHistogram(pages[0]).observe(seconds)
    registry = CollectorRegistry()
    registry.register(pages)
    text = generate_latest(registry).decode()
    for bound in LATENCY_BUCKETS:
        assert f'decision_seconds_bucket{{le="{bound}"}} {float(seconds <= bound)}' in text
    assert "decision_seconds_count 1.0" in text
    assert f"decision_seconds_sum {float(seconds)}" in text


def test_every_number_has_a_family_with_help() -> None:
    registry = CollectorRegistry()
    registry.register(Pages(1))
    text = generate_latest(registry).decode()
    for name in Name:
        assert f"# HELP gatepass_verifier_{name.name.lower()}" in text
