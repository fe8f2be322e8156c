"""What the issuer counts for Prometheus. Labels come from closed sets, never from what a client wrote."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from shared.version import REVISION, VERSION

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One registry with every collector of a process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gatepass_issuer_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "gatepass_issuer_http_request_seconds",
            "Time to answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.connections = Gauge(
            "gatepass_issuer_connections", "Open connections to the public listener.", registry=self.registry
        )
        self.dropped_connections = Counter(
            "gatepass_issuer_dropped_connections",
            "Connections to the public listener that were closed at a limit, by which.",
            ("reason",),
            registry=self.registry,
        )
        self.registrations = Counter("gatepass_issuer_registrations", "Accounts created.", registry=self.registry)
        self.logins = Counter("gatepass_issuer_logins", "Logins judged.", ("outcome",), registry=self.registry)
        self.refreshes = Counter(
            "gatepass_issuer_refreshes", "Refresh tokens judged.", ("outcome",), registry=self.registry
        )
        self.sessions_begun = Counter("gatepass_issuer_sessions_begun", "Sessions begun.", registry=self.registry)
        self.sessions_ended = Counter(
            "gatepass_issuer_sessions_ended",
            "Sessions ended before their time.",
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
            "gatepass_issuer_status_list_bytes", "All status lists as they are sent.", registry=self.registry
        )
        self.status_lists_read_at = Gauge(
            "gatepass_issuer_status_lists_read_timestamp_seconds",
            "When revocations were last read for the status lists.",
            registry=self.registry,
        )
        self.argon2_computations = Counter(
            "gatepass_issuer_argon2_computations", "Password hashes computed.", registry=self.registry
        )
        self.hash_wait_seconds = Histogram(
            "gatepass_issuer_hash_wait_seconds", "Wait for a hash to begin.", buckets=_SECONDS, registry=self.registry
        )
        self.hash_refusals = Counter(
            "gatepass_issuer_hash_refusals", "Hashes refused by admission.", registry=self.registry
        )
        self.client_authentications = Counter(
            "gatepass_issuer_client_authentications",
            "Clients that were let in or refused, by why.",
            ("outcome",),
            registry=self.registry,
        )
        self.throttled = Counter(
            "gatepass_issuer_throttled", "Attempts refused as too many.", ("scope",), registry=self.registry
        )
        self.keyring_failures = Counter(
            "gatepass_issuer_keyring_failures", "Key rings that could not be loaded.", registry=self.registry
        )
        self.keys_folder_usable = Gauge(
            "gatepass_issuer_keys_folder_usable",
            "1 while the keys folder holds a usable key set; 0 while the last good one is used from memory.",
            registry=self.registry,
        )
        self.signing_key_activated_timestamp_seconds = Gauge(
            "gatepass_issuer_signing_key_activated_timestamp_seconds",
            "When the current key began to sign; 0 if there is none.",
            registry=self.registry,
        )
        self.signing_keys = Gauge(
            "gatepass_issuer_signing_keys", "Signing keys by state.", ("state",), registry=self.registry
        )
        self.key_ticks = Counter(
            "gatepass_issuer_key_ticks", "Looks at what is due in the key ring.", ("outcome",), registry=self.registry
        )
        self.mails = Counter(
            "gatepass_issuer_mails",
            "Mails sent, failed (to be tried again), rejected by a mail server, abandoned after a day, or dropped.",
            ("template", "outcome"),
            registry=self.registry,
        )
        self.outbox_mails = Gauge("gatepass_issuer_outbox_mails", "Mails that wait.", registry=self.registry)
        self.outbox_oldest_seconds = Gauge(
            "gatepass_issuer_outbox_oldest_seconds", "Age of the oldest mail that waits.", registry=self.registry
        )
        self.database_connections = Gauge(
            "gatepass_issuer_database_connections",
            "Connections to PostgreSQL that are open, idle, or awaited by requests.",
            ("state",),
            registry=self.registry,
        )
        self.database_away = Gauge(
            "gatepass_issuer_database_away", "1 while PostgreSQL is known to be away.", registry=self.registry
        )
        self.database_failures = Counter(
            "gatepass_issuer_database_failures",
            "Round trips to PostgreSQL that failed, by why.",
            ("failure",),
            registry=self.registry,
        )
        self.removed_rows = Counter(
            "gatepass_issuer_removed_rows",
            "Rows cleaned up, by what they were.",
            ("subject",),
            registry=self.registry,
        )
        self.registry.register(_Processor())
        build = Info(
            "gatepass_issuer_build", "Version of Gatepass, and revision of its source.", registry=self.registry
        )
        build.info({"version": VERSION, "revision": REVISION})

    def exposition(self) -> bytes:
        """The text format that Prometheus scrapes."""
        return generate_latest(self.registry)


class _Processor(Collector):
    """Under our own prefix and on every system, unlike the library's collector of the same."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read the clock of this process."""
        yield CounterMetricFamily(
            "gatepass_issuer_cpu_seconds", "Processor time that the process has used.", time.process_time()
        )
