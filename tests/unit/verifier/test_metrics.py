"""The metrics of a verifier, as Prometheus reads them."""

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from verifier.metrics import LATENCY_BUCKETS, PREFIX, Metrics


def test_counters_without_labels_start_at_zero_so_that_the_first_event_is_an_increase() -> None:
    metrics = Metrics()
    for name in ("cache_hits", "cache_evictions", "reload_failures", "suppressed_log_lines"):
        assert metrics.registry.get_sample_value(f"{PREFIX}{name}_total") == 0


def test_a_cached_decision_counts_as_a_cache_hit() -> None:
    metrics = Metrics()
    metrics.decisions.labels("default", "allowed", "cached").inc(2)
    metrics.decisions.labels("admin", "allowed", "cached").inc(3)
    metrics.decisions.labels("default", "allowed", "verified").inc(5)
    assert metrics.registry.get_sample_value(f"{PREFIX}cache_hits_total") == 5


def test_buckets_separate_a_microsecond_from_a_tenth_of_a_second() -> None:
    metrics = Metrics()
    for seconds in (1e-6, 3e-5, 0.09):
        metrics.decision_seconds.observe(seconds)
    counts = [
        metrics.registry.get_sample_value(f"{PREFIX}decision_seconds_bucket", {"le": str(bound)})
        for bound in LATENCY_BUCKETS
    ]
    assert counts == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3]


def test_every_family_has_help_and_none_is_exported_twice() -> None:
    families = list(text_string_to_metric_families(generate_latest(Metrics().registry).decode()))
    assert all(family.documentation for family in families)
    assert not [family.name for family in families if family.name.endswith("_created")]
