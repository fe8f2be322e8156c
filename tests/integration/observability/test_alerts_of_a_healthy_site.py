"""Alerts on metrics of a real issuer and verifier, extended to more than a day: none fires without a fault."""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.integration.observability.conftest import Site
from tests.support.metric_history import (
    DEPLOYED,
    SLOWEST,
    History,
    Pace,
    Scrape,
    Series,
    alerts_that_fire,
    extend,
    longest_wait,
    read_metrics,
    read_scrape,
)
from tests.support.monitoring import rules
from tests.support.plain_http import HTTP

pytestmark = pytest.mark.timeout(600)  # promtool takes some seconds of a core, and minutes on a busy machine

KEYS_REFRESHED: Final = "gatepass_verifier_jwks_refreshed_timestamp_seconds"
LISTS_REFRESHED: Final = "gatepass_verifier_status_list_refreshed_timestamp_seconds"
FAILED_FETCHES: Final = "gatepass_verifier_jwks_failures_total"
DECISIONS: Final = "gatepass_verifier_decisions_total"
DAY: Final = 86_400

FEWEST_SCRAPES: Final = 4
ATTEMPTS: Final = 5
ALERTS_ABOUT_SPEED: Final = {"GatepassVerifierSlow", "GatepassPasswordHashingSlow", "GatepassIssuerSlow"}
"""Alerts that also fire on a busy machine. They must be absent in one attempt, all others in each attempt."""

BEGINNING: Final = 20
"""Scrapes before a fault."""
LASTING: Final = 70
"""Scrapes with the fault: more than the longest `for`."""

Change = Callable[[History, Series], None]
"""A function that changes a series from the start of a fault."""


def grows(per_second: float) -> Change:
    """Return a change: a counter grows at this rate."""

    def change(history: History, series: Series) -> None:
        before = history[series][:BEGINNING]
        last = before[-1] or 0.0
        history[series] = [
            *before,
            *(last + per_second * SLOWEST.scrape * number for number in range(1, LASTING + 1)),
        ]

    return change


def becomes(value: float) -> Change:
    """Return a change: a gauge has this value. Histories start at time 0, so -60 is more than a minute ago."""

    def change(history: History, series: Series) -> None:
        history[series] = [*history[series][:BEGINNING], *[value] * LASTING]

    return change


def ends(history: History, series: Series) -> None:
    """End a series."""
    history[series] = history[series][:BEGINNING]


def begins(metric: str, per_second: float, **labels: str) -> Change:
    """Return a change: a new counter grows. It has the labels of another series, except for `labels`."""

    def change(history: History, series: Series) -> None:
        new = Series(metric, frozenset((dict(series.labels) | labels).items()))
        history[new] = [
            *[None] * BEGINNING,
            *(per_second * SLOWEST.scrape * number for number in range(1, LASTING + 1)),
        ]

    return change


stops: Final = grows(0)


def rejects(reason: str, per_second: float) -> dict[str, Change]:
    """Return the changes when the verifier rejects tokens for a reason."""
    return {f'{DECISIONS}.*outcome="rejected", policy="default", reason="{reason}"': grows(per_second)}


FAULTS: Final[dict[str, dict[str, Change]]] = {
    "GatepassUndecidable": {f'{DECISIONS}.*reason="keys_unavailable"': grows(1)},
    "GatepassSignedTokensRejected": rejects("wrong_audience", 10),
    "GatepassUnknownKey": rejects("unknown_key", 100),
    "GatepassBadSignatures": rejects("bad_signature", 100),
    "GatepassRejectionsJumped": rejects("expired", 1000),
    "GatepassUnknownPolicy": {f'{DECISIONS}.*policy="", reason="unknown_policy"': grows(1)},
    "GatepassVerifierNotReady": {"gatepass_verifier_ready": becomes(0)},
    "GatepassKeysMissing": {"gatepass_verifier_jwks_keys": becomes(0)},
    "GatepassKeysStale": {
        KEYS_REFRESHED: stops,
        "gatepass_verifier_jwks_keys": begins(FAILED_FETCHES, 1 / 30, cause="unreachable"),
    },
    "GatepassKeysExpiring": {KEYS_REFRESHED: becomes(-DAY / 2)},
    "GatepassKeySetRejected": {"gatepass_verifier_jwks_keys": begins(FAILED_FETCHES, 1 / 300, cause="invalid")},
    "GatepassNoSigningKey": {"gatepass_issuer_signing_key_activated": becomes(0)},
    "GatepassSigningKeyOld": {"gatepass_issuer_signing_key_activated": becomes(-91 * DAY)},
    "GatepassNoNextKey": {"gatepass_issuer_signing_key_activated": becomes(-90 * DAY)},
    "GatepassKeyRotationFailing": {'gatepass_issuer_key_rotation_runs_total.*outcome="failed"': grows(1 / 60)},
    "GatepassKeyDirectoryUnusable": {"gatepass_issuer_key_directory_usable": becomes(0)},
    "GatepassRevocationsStale": {LISTS_REFRESHED: stops},
    "GatepassRevocationsExpiring": {LISTS_REFRESHED: stops},
    "GatepassStatusListsNotRenewed": {"gatepass_issuer_status_lists_read_timestamp_seconds": stops},
    "GatepassPasswordHashingOverloaded": {"gatepass_issuer_password_hash_rejections_total": grows(1)},
    # All observations are above the highest bucket.
    "GatepassPasswordHashingSlow": {r'gatepass_issuer_hash_wait_seconds_bucket.*le="\d': stops},
    "GatepassVerifierSlow": {r'gatepass_verifier_decision_seconds_bucket.*le="\d': stops},
    "GatepassIssuerSlow": {r'gatepass_issuer_http_request_seconds_bucket.*le="\d.*route="/token"': stops},
    "GatepassDatabaseConnectionsExhausted": {'gatepass_issuer_database_connections.*state="awaited"': becomes(5)},
    "GatepassVerifierBusy": {"gatepass_verifier_cpu_seconds_total": grows(0.95)},
    "GatepassVerifierConnections": {"gatepass_verifier_connections": becomes(9000)},
    "GatepassDatabaseDown": {"gatepass_issuer_database_up": becomes(0)},
    "GatepassDatabaseErrors": {'gatepass_issuer_database_failures_total.*failure="too_slow"': grows(1)},
    "GatepassDatabaseErrorUnexpected": {'gatepass_issuer_database_failures_total.*failure="unexpected"': grows(1)},
    "GatepassDatabaseWentBack": {'gatepass_issuer_refreshes_total.*outcome="generation_ahead"': grows(1 / 60)},
    "GatepassMailDelayed": {"gatepass_issuer_outbox_oldest_seconds": becomes(3600)},
    "GatepassMailRejected": {'gatepass_issuer_mails_total.*outcome="rejected"': grows(100)},
    "GatepassLoginFailures": {'gatepass_issuer_logins_total.*outcome="rejected"': grows(1000)},
    "GatepassThrottled": {'gatepass_issuer_rate_limited_total.*limit="account"': grows(100)},
    "GatepassIssuerErrors": {
        'gatepass_issuer_http_requests_total.*route="/token", status="200"': begins(
            "gatepass_issuer_http_requests_total", 10, status="500"
        )
    },
    "GatepassReloadFailed": {"gatepass_verifier_reload_failures_total": grows(1 / 60)},
    "GatepassTargetDown": {'up.*job="gatepass-verifier"': becomes(0)},
    "GatepassMetricsAbsent": {"gatepass_verifier_": ends},
}
"""For each alert, patterns of series and how they change when something fails. The alert must fire."""


def use(site: Site, email: str) -> None:
    """Log in, send a hundred requests and log out; one password is wrong, and one token is missing."""
    login = site.issuer.session(email)
    assert site.issuer.login(email, "not her password at all").status_code == 401
    login = site.issuer.refresh(login["refresh_token"]).json()
    assert site.issuer.request("GET", "/me", login["access_token"]).status_code == 200
    fields = f"GET /verify HTTP/1.1\r\nHost: v\r\nAuthorization: Bearer {login['access_token']}\r\n\r\n".encode()
    with site.verifier.connect() as wire:
        assert {wire.ask(fields).status for _ in range(100)} == {200}
    assert site.verifier.ask().status == 401
    assert site.issuer.request("POST", "/logout", login["access_token"]).status_code == 204


def scrape(site: Site) -> tuple[Scrape, Scrape]:
    """Scrape both processes as Prometheus does."""
    issuer = site.issuer.admin("/metrics").text
    verifier = site.verifier.admin("/metrics").text
    now = time.time()
    return read_scrape("gatepass-issuer", issuer, now), read_scrape("gatepass-verifier", verifier, now)


def observe(site: Site) -> Callable[[int, Pace], History]:
    """Use the site between scrapes. Return a function that extends the scrapes to a history of `seconds`."""
    scrapes = [scrape(site)]
    while len(scrapes) < FEWEST_SCRAPES or not _lists_were_refreshed(scrapes):
        use(site, f"{time.monotonic_ns()}@example.com")
        scrapes.append(scrape(site))
    # The verifier refreshes keys when the issuer says, which is later than this.
    key_set = HTTP.get(f"{site.issuer.url}/.well-known/jwks.json")
    refreshed_every = {KEYS_REFRESHED: int(key_set.headers["Cache-Control"].removeprefix("public, max-age="))}

    def history(seconds: int, pace: Pace) -> History:
        histories = [extend(of_one, seconds, pace, refreshed_every) for of_one in zip(*scrapes, strict=True)]
        return histories[0] | histories[1]

    return history


def _lists_were_refreshed(scrapes: Sequence[tuple[Scrape, Scrape]]) -> bool:
    times = {value for _, one in scrapes for series, value in one.gauges.items() if series.metric == LISTS_REFRESHED}
    return len(times) > 1


@pytest.fixture(scope="module")
def observed(site: Site) -> Callable[[int, Pace], History]:
    return observe(site)


@pytest.mark.parametrize(
    ("seconds", "pace"), [(1800, DEPLOYED), (longest_wait() + 3600, SLOWEST)], ids=["deployed", "slowest"]
)
def test_no_alert_fires_at_a_healthy_site(seconds: int, pace: Pace, site: Site, tmp_path: Path) -> None:
    """Half an hour is enough for alerts on the last minutes; the second history is long enough for all."""
    attempts = (alerts_that_fire(observe(site)(seconds, pace), pace, tmp_path) for _ in range(ATTEMPTS))
    firing = next((found for found in attempts if not found or found - ALERTS_ABOUT_SPEED), ALERTS_ABOUT_SPEED)
    assert firing == set()


def test_every_metric_of_the_rules_has_series_at_a_healthy_site(observed: Callable[[int, Pace], History]) -> None:
    """Series of failed fetches begin with the first failure."""
    assert read_metrics() - {series.metric for series in observed(0, SLOWEST)} == {FAILED_FETCHES}


def test_every_alert_has_a_fault() -> None:
    assert set(FAULTS) == {rule["alert"] for rule in rules() if "alert" in rule}


@pytest.mark.parametrize("alert", FAULTS)
def test_an_alert_fires_when_a_healthy_site_fails(
    alert: str, observed: Callable[[int, Pace], History], tmp_path: Path
) -> None:
    history = observed((BEGINNING + LASTING - 1) * SLOWEST.scrape, SLOWEST)
    for pattern, change in FAULTS[alert].items():
        changed = [series for series in history if re.match(pattern, str(series))]
        assert changed, f"the site serves no series {pattern}"
        for series in changed:
            change(history, series)
    assert alert in alerts_that_fire(history, SLOWEST, tmp_path)
