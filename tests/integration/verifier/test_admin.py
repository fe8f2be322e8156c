"""The admin listener and logs: health, readiness, consistent metrics, and no secrets."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.version import VERSION
from tests.support.plain_http import HTTP
from tests.support.processes import paused, wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge
from tests.support.verifier_process import VerifierFolder, VerifierProcess, running_verifier
from verifier.health import MAX_LAG_SECONDS, TICK_SECONDS

_POLICIES = '[policies.default]\n[policies.admin]\nscopes_all = ["admin"]\n[policies.open]\nanonymous = true'


@pytest.fixture(scope="module")
def asked() -> Iterator[VerifierProcess]:
    with running_verifier(policies=_POLICIES) as process:
        yield process


def _ask_on_many_connections(verifier: VerifierProcess, rounds: int) -> int:
    """Send six kinds of requests, each `rounds` times, over 30 connections; return the number of each."""
    token, bad = bearer(verifier.token()), bearer(Forge().token(time.time(), {"kid": verifier.forge.kid}))
    kinds = [
        request("/verify", token),
        request("/verify"),
        request("/verify", bad),
        request("/verify/admin", token),
        request("/verify/open"),
        request("/verify/nowhere", token),
    ]
    with ExitStack() as stack:
        wires = [stack.enter_context(verifier.connect()) for _ in range(30)]
        for _ in range(rounds):
            for kind in kinds:
                random.choice(wires).ask(kind)
    return rounds


def _counts(verifier: VerifierProcess) -> dict[str, float]:
    metric = verifier.metric
    return {
        "allowed": metric("decisions_total", policy="default", outcome="allowed"),
        "missing": metric("decisions_total", policy="default", outcome="rejected", reason="missing_token"),
        "bad": metric("decisions_total", policy="default", outcome="rejected", reason="bad_signature"),
        "scope": metric("decisions_total", policy="admin", outcome="rejected", reason="insufficient_scope"),
        "anonymous": metric("decisions_total", policy="open", outcome="allowed", reason="anonymous"),
        "unknown": metric("decisions_total", policy="", outcome="rejected", reason="unknown_policy"),
    }


def test_every_response_is_counted_once(folder: VerifierFolder) -> None:
    with folder.running(policies=_POLICIES) as verifier:
        rounds = _ask_on_many_connections(verifier, 30)
        assert set(_counts(verifier).values()) == {rounds}
        assert verifier.metric("decisions_total") == 6 * rounds
        hits = verifier.metric("decisions_total", reason="cached")
        assert verifier.metric("cache_hits_total") == hits > 0
        # Neither what came from the cache nor what named no policy took time to decide.
        assert verifier.metric("decision_seconds_count") == 6 * rounds - hits - rounds


def test_a_metric_names_version_and_revision(asked: VerifierProcess) -> None:
    assert asked.samples("build_info") == [({"version": VERSION, "revision": "unknown"}, 1.0)]


def test_metrics_have_the_format_of_prometheus(asked: VerifierProcess) -> None:
    _ask_on_many_connections(asked, 1)
    response = asked.admin("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    assert all(name.startswith("gatepass_verifier_") for name in families)
    assert all(family.documentation for family in families.values())
    histogram = families["gatepass_verifier_decision_seconds"]
    buckets = [sample.value for sample in histogram.samples if sample.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == next(sample.value for sample in histogram.samples if sample.name.endswith("_count"))
    assert buckets[-1] > 0
    refreshed = families["gatepass_verifier_jwks_refreshed_timestamp_seconds"].samples
    assert [sample.labels for sample in refreshed] == [{"issuer": asked.forge.issuer}]
    assert 0 <= time.time() - refreshed[0].value < 30


def test_connections_and_cache_have_gauges(asked: VerifierProcess) -> None:
    with asked.connect() as one, asked.connect() as other:
        for wire in (one, other):
            wire.ask(request("/verify", bearer(asked.token())))
        wait_until(lambda: asked.metric("connections") == 2, "two connections are seen")
        assert asked.metric("cache_entries") >= 1
        assert asked.metric("cache_bytes") > 0
    wait_until(lambda: asked.metric("connections") == 0, "they are gone")


def test_health_is_served_on_the_admin_listener_only(asked: VerifierProcess) -> None:
    assert [asked.admin(path).status_code for path in ("/healthz", "/readyz", "/metrics", "/", "/verify")] == [
        *(200, 200, 200),
        *(404, 404),
    ]
    assert [asked.admin("/healthz", method).status_code for method in ("HEAD", "POST", "DELETE")] == [200, 405, 405]
    for path in ("/healthz", "/readyz", "/metrics"):
        assert asked.ask(path, token=asked.token()).status == 403


def test_health_fails_while_and_after_the_event_loop_is_blocked(folder: VerifierFolder) -> None:
    with folder.running() as verifier:
        assert verifier.admin("/healthz").status_code == 200
        with paused(verifier.process), pytest.raises(httpx.ReadTimeout):
            HTTP.get(f"{verifier.admin_url}/healthz", timeout=MAX_LAG_SECONDS + TICK_SECONDS + 0.5)
        late = verifier.admin("/healthz")
        assert (late.status_code, "event loop" in late.text) == (503, True)
        assert verifier.metric("event_loop_lag_seconds") > MAX_LAG_SECONDS
        assert verifier.admin("/readyz").status_code == 200
        wait_until(lambda: verifier.admin("/healthz").status_code == 200, "a stall is over some time", 20)


def test_hostile_requests_do_not_stop_the_admin_listener(asked: VerifierProcess) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{asked.admin_port}") as client:
        for path in ("/metrics/../healthz", "/%2e%2e", "//metrics", "/" + "x" * 5000, "/metrics?" + "x" * 5000):
            assert client.get(path).status_code in (200, 404)
        assert client.get("/metrics", headers={"Accept": "application/openmetrics-text"}).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_no_part_of_a_token_is_ever_in_the_log(folder: VerifierFolder) -> None:
    with folder.running(policies=_POLICIES, LOG_LEVEL="debug") as verifier:
        valid, now = verifier.token(), time.time()
        tokens = [
            valid,
            valid[:-5],
            valid + b"AAAA",
            valid + b"=",
            verifier.token(exp=1),
            verifier.token(aud="other"),
            verifier.token(sub="very-secret-subject", iss="https://other.example"),
            Forge().token(now),
            Forge().token(now, {"kid": verifier.forge.kid}),
            b"not.a.token-but-a-secret-word",
            b"x" * 9000,
        ]
        for token in tokens:
            assert verifier.ask(token=token).status in (200, 401)
            verifier.ask("/verify/admin", token=token)
            verifier.ask("/verify", "Authorization: " + token.decode())
            verifier.ask("/verify", f"Authorization: Bearer {token.decode()} {token.decode()}")
            verifier.ask("/verify?access_token=" + token.decode()[:1000])
        verifier.stop()
        log = verifier.log()
    for token in tokens:
        for part in token.decode().split("."):
            assert part[:24] not in log or len(part) < 3
    assert "very-secret-subject" not in log
    assert "secret-word" not in log
    rejected = verifier.events("request_rejected")
    assert rejected
    assert all(set(line) >= {"policy", "reason", "fingerprint", "timestamp", "process"} for line in rejected)
