"""Prometheus metrics of the issuer. Label values come from closed sets, never from client input."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from shared.version import REVISION, VERSION

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """All metrics of a process, in one registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gatepass_issuer_http_requests",
            "HTTP requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "gatepass_issuer_http_request_seconds",
            "Response time by route, in seconds.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.connections = Gauge(
            "gatepass_issuer_connections", "Open connections to the public listener.", registry=self.registry
        )
        self.dropped_connections = Counter(
            "gatepass_issuer_dropped_connections",
            "Connections to the public listener that were closed at a limit, by limit.",
            ("reason",),
            registry=self.registry,
        )
        self.registrations = Counter("gatepass_issuer_registrations", "Accounts created.", registry=self.registry)
        self.logins = Counter(
            "gatepass_issuer_logins", "Login attempts by outcome.", ("outcome",), registry=self.registry
        )
        self.refreshes = Counter(
            "gatepass_issuer_refreshes", "Refresh attempts by outcome.", ("outcome",), registry=self.registry
        )
        self.sessions_created = Counter(
            "gatepass_issuer_sessions_created", "Sessions created.", registry=self.registry
        )
        self.sessions_revoked = Counter(
            "gatepass_issuer_sessions_revoked",
            "Sessions revoked before they expired, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.status_list_build_seconds = Histogram(
            "gatepass_issuer_status_list_build_seconds",
            "Time to pack, compress and sign a status list.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.status_list_bytes = Gauge(
            "gatepass_issuer_status_list_bytes",
            "Size of all status lists as they are sent, in bytes.",
            registry=self.registry,
        )
        self.status_lists_read_at = Gauge(
            "gatepass_issuer_status_lists_read_timestamp_seconds",
            "Time at which revocations were last read for the status lists.",
            registry=self.registry,
        )
        self.argon2_computations = Counter(
            "gatepass_issuer_argon2_computations", "Password hashes computed.", registry=self.registry
        )
        self.hash_wait_seconds = Histogram(
            "gatepass_issuer_hash_wait_seconds",
            "Time that a password hash waited for a free thread, in seconds.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.password_hash_rejections = Counter(
            "gatepass_issuer_password_hash_rejections",
            "Password hashes rejected because the queue would take too long.",
            registry=self.registry,
        )
        self.client_authentications = Counter(
            "gatepass_issuer_client_authentications",
            "Client authentications by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self.rate_limited = Counter(
            "gatepass_issuer_rate_limited",
            "Attempts rejected by a rate limit, by the limit that was reached.",
            ("limit",),
            registry=self.registry,
        )
        self.key_set_reload_failures = Counter(
            "gatepass_issuer_key_set_reload_failures",
            "Reloads of the key directory that failed.",
            registry=self.registry,
        )
        self.key_directory_usable = Gauge(
            "gatepass_issuer_key_directory_usable",
            "1 while the key directory holds a usable key set; 0 while the last good one is used from memory.",
            registry=self.registry,
        )
        self.signing_key_activated_timestamp_seconds = Gauge(
            "gatepass_issuer_signing_key_activated_timestamp_seconds",
            "Time at which the current key began to sign; 0 if there is none.",
            registry=self.registry,
        )
        self.signing_keys = Gauge(
            "gatepass_issuer_signing_keys", "Signing keys by state.", ("state",), registry=self.registry
        )
        self.key_rotation_runs = Counter(
            "gatepass_issuer_key_rotation_runs",
            "Runs of the key rotation by outcome.",
            ("outcome",),
            registry=self.registry,
        )
        self.mails = Counter(
            "gatepass_issuer_mails",
            "Mails sent, failed (to be tried again), rejected by a mail server, abandoned after a day, or dropped.",
            ("template", "outcome"),
            registry=self.registry,
        )
        self.outbox_mails = Gauge("gatepass_issuer_outbox_mails", "Mails waiting to be sent.", registry=self.registry)
        self.outbox_oldest_seconds = Gauge(
            "gatepass_issuer_outbox_oldest_seconds",
            "Age of the oldest waiting mail, in seconds.",
            registry=self.registry,
        )
        self.database_connections = Gauge(
            "gatepass_issuer_database_connections",
            "Connections to PostgreSQL that are open or idle, and requests that await one.",
            ("state",),
            registry=self.registry,
        )
        self.database_up = Gauge(
            "gatepass_issuer_database_up",
            "1 while PostgreSQL is reachable, 0 during an outage.",
            registry=self.registry,
        )
        self.database_up.set(1)  # until an outage is detected
        self.database_failures = Counter(
            "gatepass_issuer_database_failures",
            "Failed database operations by kind of failure.",
            ("failure",),
            registry=self.registry,
        )
        self.cleanup_deleted_rows = Counter(
            "gatepass_issuer_cleanup_deleted_rows",
            "Expired rows deleted by the cleanup, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self.registry.register(_Processor())
        build = Info(
            "gatepass_issuer_build", "Version of Gatepass, and revision of its source.", registry=self.registry
        )
        build.info({"version": VERSION, "revision": REVISION})

    def exposition(self) -> bytes:
        """Return all metrics in the text format that Prometheus scrapes."""
        return generate_latest(self.registry)


class _Processor(Collector):
    """Processor time. The library's own collector has no prefix and works on Linux only."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read the processor time of this process."""
        yield CounterMetricFamily(
            "gatepass_issuer_cpu_seconds", "Processor time that the process has used.", time.process_time()
        )
