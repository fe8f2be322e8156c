"""Prometheus metrics of the issuer. Label values come from closed sets, never from client input."""

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from shared.metrics import ProcessMetrics

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics(ProcessMetrics):
    """All metrics of a process, in one registry."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        super().__init__("gatepass_issuer_")
        self.requests = self.counter(
            "http_requests", "HTTP requests by route, method and status.", "route", "method", "status"
        )
        self.request_seconds = self.histogram(
            "http_request_seconds", "Response time by route, in seconds.", "route", buckets=_SECONDS
        )
        self.connections = self.gauge("connections", "Open connections to the public listener.")
        self.dropped_connections = self.counter(
            "dropped_connections",
            "Connections to the public listener that were closed at a limit, by limit.",
            "reason",
        )
        self.registrations = self.counter("registrations", "Accounts created.")
        self.logins = self.counter("logins", "Login attempts by outcome.", "outcome")
        self.refreshes = self.counter("refreshes", "Refresh attempts by outcome.", "outcome")
        self.sessions_created = self.counter("sessions_created", "Sessions created.")
        self.sessions_revoked = self.counter(
            "sessions_revoked", "Sessions revoked before they expired, by reason.", "reason"
        )
        self.status_list_build_seconds = self.histogram(
            "status_list_build_seconds", "Time to pack, compress and sign a status list.", buckets=_SECONDS
        )
        self.status_list_bytes = self.gauge(
            "status_list_bytes", "Size of all status lists as they are sent, in bytes."
        )
        self.status_lists_read_at = self.gauge(
            "status_lists_read_timestamp_seconds", "Time at which revocations were last read for the status lists."
        )
        self.argon2_computations = self.counter("argon2_computations", "Password hashes computed.")
        self.hash_wait_seconds = self.histogram(
            "hash_wait_seconds", "Time that a password hash waited for a free thread, in seconds.", buckets=_SECONDS
        )
        self.password_hash_rejections = self.counter(
            "password_hash_rejections", "Password hashes rejected because the queue would take too long."
        )
        self.client_authentications = self.counter(
            "client_authentications", "Client authentications by outcome.", "outcome"
        )
        self.rate_limited = self.counter(
            "rate_limited", "Attempts rejected by a rate limit, by the limit that was reached.", "limit"
        )
        self.key_set_reload_failures = self.counter(
            "key_set_reload_failures", "Reloads of the key directory that failed."
        )
        self.key_directory_usable = self.gauge(
            "key_directory_usable",
            "1 while the key directory holds a usable key set; 0 while the last valid one is used from memory.",
        )
        self.signing_key_activated_timestamp_seconds = self.gauge(
            "signing_key_activated_timestamp_seconds",
            "Time at which the current key began to sign; 0 if there is none.",
        )
        self.signing_keys = self.gauge("signing_keys", "Signing keys by state.", "state")
        self.key_rotation_runs = self.counter("key_rotation_runs", "Runs of the key rotation by outcome.", "outcome")
        self.mails = self.counter(
            "mails",
            "Mails sent, failed (to be tried again), rejected by a mail server, abandoned after a day, or dropped.",
            "template",
            "outcome",
        )
        self.outbox_mails = self.gauge("outbox_mails", "Mails waiting to be sent.")
        self.outbox_oldest_seconds = self.gauge(
            "outbox_oldest_seconds", "Age of the oldest waiting mail, in seconds."
        )
        self.database_connections = self.gauge(
            "database_connections",
            "Connections to PostgreSQL that are open or idle, and requests that await one.",
            "state",
        )
        self.database_up = self.gauge("database_up", "1 while PostgreSQL is reachable, 0 during an outage.")
        self.database_up.set(1)  # until an outage is detected
        self.database_failures = self.counter(
            "database_failures", "Failed database operations by kind of failure.", "failure"
        )
        self.cleanup_deleted_rows = self.counter(
            "cleanup_deleted_rows", "Expired rows deleted by the cleanup, by kind.", "kind"
        )

    def exposition(self) -> bytes:
        """Return all metrics in the text format that Prometheus scrapes."""
        return generate_latest(self.registry)
