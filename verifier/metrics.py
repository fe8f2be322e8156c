"""The verifier's metrics for Prometheus. Label values are policies, issuers and closed sets, never client input."""

from typing import Final

from prometheus_client import disable_created_metrics

from shared.metrics import ProcessMetrics

PREFIX: Final = "gatepass_verifier_"

LATENCY_BUCKETS: Final = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 1e-1)
"""Upper bounds in seconds: deciding about a new token takes some tens of microseconds."""

# For the whole process. Without this call every counter is exported twice, once as a timestamp.
disable_created_metrics()  # type: ignore[no-untyped-call] # has no annotations


class Metrics(ProcessMetrics):
    """All metrics of one process, in one registry."""

    def __init__(self) -> None:
        super().__init__(PREFIX)
        self.decisions = self.counter("decisions", "Responses to subrequests.", "policy", "outcome", "reason")
        self.computed_counter("cache_hits", "Decisions served from the cache.", self._cache_hits)
        self.cache_evictions = self.counter("cache_evictions", "Decisions evicted from the cache to make room.")
        self.cache_entries = self.gauge("cache_entries", "Decisions in the cache.")
        self.cache_bytes = self.gauge("cache_bytes", "Estimated bytes of the decisions in the cache.")
        self.connections = self.gauge("connections", "Open connections of gateways.")
        self.jwks_keys = self.gauge("jwks_keys", "Usable keys of an issuer.", "issuer")
        self.jwks_refreshed_at = self.gauge(
            "jwks_refreshed_timestamp_seconds", "Time of the last successful key set refresh.", "issuer"
        )
        self.jwks_failures = self.counter(
            "jwks_failures", "Failed refreshes of key sets and of the metadata that name them.", "issuer", "cause"
        )
        self.status_lists = self.gauge("status_lists", "Usable status lists of an issuer.", "issuer")
        self.status_list_bytes = self.gauge(
            "status_list_bytes", "Bytes of the status lists of an issuer, decompressed.", "issuer"
        )
        self.status_lists_refreshed_at = self.gauge(
            "status_list_refreshed_timestamp_seconds",
            "Oldest successful refresh of the aggregation and the status lists that it names; 0 until all have one.",
            "issuer",
        )
        self.status_list_failures = self.counter(
            "status_list_failures", "Failed refreshes of status lists and aggregations.", "issuer", "cause"
        )
        self.reload_failures = self.counter("reload_failures", "Failed policy reloads.")
        self.suppressed_log_lines = self.counter(
            "suppressed_log_lines", "Rejections that were not logged because of the rate limit."
        )
        self.decision_seconds = self.histogram(
            "decision_seconds", "Time to make a decision that was not in the cache.", buckets=LATENCY_BUCKETS
        )
        self.event_loop_lag_seconds = self.gauge(
            "event_loop_lag_seconds", "Longest delay of the event loop in the last 15 seconds."
        )
        self.ready = self.gauge("ready", "1 when the verifier can verify the tokens of at least one issuer.")

    def _cache_hits(self) -> float:
        """Return the decisions with the reason `cached`, so that the request path counts each hit only once."""
        samples = (sample for family in self.decisions.collect() for sample in family.samples)
        return sum(sample.value for sample in samples if sample.labels["reason"] == "cached")
