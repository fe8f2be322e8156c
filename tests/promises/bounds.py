"""The published bounds: those that are measured, and those that tests check in simulated time."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Bound:
    """A bound that a measurement must not exceed.

    Attributes:
        limit: the largest value that keeps the promise.
        published: the document that states it, and how it writes the bound there.
    """

    promise: str
    limit: float
    unit: str
    published: tuple[str, str]


MEASURED: Final = {
    "revocation": Bound(
        "A verifier rejects the tokens of a session after its logout (p99 of 100 logouts, default settings)",
        3.0,
        "s",
        ("README.md", "within about 3 seconds"),
    ),
    "silent-database": Bound(
        "A request gets 503 while PostgreSQL does not respond",
        1.25,
        "s",
        ("specs/003-issuer-complete/spec.md", "1.25 s"),
    ),
    "known-outage": Bound(
        "Once an outage of PostgreSQL is known, or where it refuses connections, a request gets 503",
        0.25,
        "s",
        ("specs/003-issuer-complete/spec.md", "250 ms"),
    ),
    "stall": Bound(
        "Requests that fail while PostgreSQL does not respond for half a second",
        0,
        "",
        ("specs/003-issuer-complete/spec.md", "up to half a second"),
    ),
    "database-recovery": Bound(
        "The issuer serves again after PostgreSQL does",
        1.0,
        "s",
        ("deploy/prometheus/gatepass.rules.yml", "recovers within a second"),
    ),
    "overload": Bound(
        "At 1.5 times the logins that the cores can hash, a login gets 200 or 503 (p99)",
        3.6,
        "s",
        ("docs/performance.md", "3.6 s"),
    ),
    "refresh-beside-logins": Bound(
        "A refresh takes, while logins use all capacity (p95)", 20.0, "ms", ("docs/performance.md", "20 ms")
    ),
    "me-beside-logins": Bound(
        "`GET /me` takes, while logins use all capacity (p95)", 20.0, "ms", ("docs/performance.md", "20 ms")
    ),
    "issuer-memory": Bound(
        "An issuer holds, before its first login (resident)", 128.0, "MiB", ("docs/operations/sizing.md", "128 MiB")
    ),
    "verifier-memory": Bound(
        "A verifier holds, before its first request (resident)", 64.0, "MiB", ("docs/operations/sizing.md", "64 MiB")
    ),
    "verifier-cache": Bound(
        "A full cache of decisions takes (resident, default settings)",
        64.0,
        "MiB",
        ("docs/operations/sizing.md", "up to 64 MiB of cached decisions"),
    ),
    "verifier-start": Bound(
        "A verifier gives its first 200 after its start", 1.0, "s", ("docs/operations/deploy.md", "within a second")
    ),
    "verifier-drain": Bound(
        "A verifier with open connections exits after SIGTERM (2 s to drain)",
        3.0,
        "s",
        ("docs/operations/deploy.md", "3 s"),
    ),
    "new-key": Bound(
        "Tokens of a new key are accepted after the first of them arrives",
        1.0,
        "s",
        ("specs/002-verifier-complete/spec.md", "within 1 s"),
    ),
    "changed-key-file": Bound(
        "A verifier uses a changed key set file",
        1.0,
        "s",
        ("docs/operations/keys-and-revocation.md", "within a second"),
    ),
    "slow-verifier": Bound(
        "A gateway rejects a request whose verifier does not respond (slowest of all gateways)",
        0.75,
        "s",
        ("deploy/gateways/README.md", "0.5 s"),
    ),
    "stack-stop": Bound(
        "SIGTERM stops `make run` with all its processes",
        5.0,
        "s",
        ("specs/001-register-login-verify/spec.md", "5 s"),
    ),
}


@dataclass(frozen=True)
class Held:
    """A bound that is too long to wait for, or exact: a test checks it in simulated time.

    `test` is a file below `tests/` and a function.
    """

    promise: str
    bound: str
    test: str


_ISSUER: Final = "integration/issuer"
_VERIFIER: Final = "integration/verifier"
HELD: Final = (
    Held(
        "Keys that cannot be fetched again are used",
        "1 day",
        f"{_VERIFIER}/test_key_staleness.py::test_keys_that_cannot_be_refreshed_expire_at_the_bound",
    ),
    Held(
        "Unknown keys cause one fetch in",
        "10 s",
        f"{_VERIFIER}/test_key_staleness.py::test_a_flood_of_unknown_keys_requests_a_refresh_every_ten_seconds",
    ),
    Held(
        "During such a flood a new key is found within",
        "10 s",
        f"{_VERIFIER}/test_key_staleness.py"
        "::test_a_new_key_is_found_within_ten_seconds_during_a_flood_which_gains_no_attempt",
    ),
    Held(
        "An incomplete head, or an incomplete body, is closed after",
        "10 s",
        f"{_VERIFIER}/test_front_deadlines.py::test_an_incomplete_head_gets_408_after_10_seconds",
    ),
    Held(
        "A connection without a request is closed within",
        "15 s",
        f"{_VERIFIER}/test_front_deadlines.py::test_a_connection_without_a_request_is_closed_within_15_seconds",
    ),
    Held(
        "An idle connection is closed after",
        "75 s",
        f"{_VERIFIER}/test_front_deadlines.py::test_an_idle_connection_is_closed_after_75_seconds",
    ),
    Held(
        "A head is accepted up to",
        "16 KiB",
        f"{_VERIFIER}/test_front_limits.py::test_a_head_of_exactly_16_kib_is_accepted",
    ),
    Held(
        "A refreshed token returns the same successor again for",
        "120 s",
        "unit/issuer/sessions/test_refresh_policy.py::test_a_refresh_token_is_decided_by_its_counter",
    ),
    Held(
        "An attacker who refreshes in step with the user is detected at refresh number",
        "6",
        f"{_ISSUER}/sessions/test_sessions.py::test_an_attacker_refreshing_in_step_is_detected_at_the_sixth_refresh",
    ),
    Held(
        "A link of a mail is valid for (password reset; verification is a day)",
        "60 minutes",
        f"{_ISSUER}/accounts/test_recovery_rules.py::test_a_one_time_token_expires_to_the_second",
    ),
    Held(
        "Mail that any client can request for an email: the first wait, doubling, and the longest",
        "1 minute, 1 day",
        f"{_ISSUER}/mail/test_mail_limits.py::test_waiting_times_double_from_a_minute_to_a_day",
    ),
    Held(
        "The longest wait before another password attempt",
        "15 minutes",
        f"{_ISSUER}/throttling/test_throttle.py::test_delays_begin_at_a_second_and_double_up_to_a_quarter_of_an_hour",
    ),
    Held(
        "Failed logins before the password is disabled for requests without a live session",
        "100",
        f"{_ISSUER}/throttling/test_throttle.py"
        "::test_after_a_hundred_failures_the_password_is_locked_for_unknown_clients",
    ),
    Held(
        "A request counter of an IP address is cleared after",
        "10 minutes",
        f"{_ISSUER}/throttling/test_throttle.py::test_requests_of_an_ip_address_are_limited_for_ten_minutes",
    ),
    Held(
        "A new signing key signs after twice the cache time of the key set and",
        "100 s",
        "unit/issuer/keys/test_rotation.py::test_the_delay_follows_how_long_the_key_set_may_be_cached",
    ),
)
