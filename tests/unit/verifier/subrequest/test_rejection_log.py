"""Rejections are logged at a limited rate, and credentials never."""

import re
from dataclasses import replace
from typing import Final

import pytest
from structlog.testing import capture_logs

from shared.same_origin import BrowserFields
from tests.support.vector_keys import GOOD, NOW
from tests.support.vectors import POLICIES, Bench
from verifier.decision.reasons import RejectionReason
from verifier.metrics import Metrics
from verifier.subrequest.rejection_log import BURST, LINES_PER_SECOND, RejectionLog, RequestIds

TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
IDS: Final = RequestIds(b"gateway-0001", f"00-{TRACE_ID}-b7ad6b7169203331-01".encode())


class Timer:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines_of(log: RejectionLog, count: int) -> int:
    with capture_logs() as lines:
        for _ in range(count):
            log.write("default", RejectionReason.EXPIRED, b"x", IDS)
    return len(lines)


def test_a_flood_of_rejections_is_logged_at_a_bounded_rate() -> None:
    timer, metrics = Timer(), Metrics()
    log = RejectionLog(metrics, timer)
    assert lines_of(log, 1000) == BURST
    assert metrics.registry.get_sample_value("gatepass_verifier_suppressed_log_lines_total") == 1000 - BURST
    timer.now += 1
    assert lines_of(log, 1000) == LINES_PER_SECOND
    timer.now += 3600
    assert lines_of(log, 1000) == BURST
    assert lines_of(log, 1) == 0


def test_a_token_has_one_fingerprint_in_a_process_and_another_in_the_next() -> None:
    first, second = RejectionLog(Metrics()), RejectionLog(Metrics())
    assert re.fullmatch("[0-9a-f]{16}", first.fingerprint(b"token"))
    assert first.fingerprint(b"token") == first.fingerprint(b"token") != first.fingerprint(b"tokem")
    assert first.fingerprint(b"token") != second.fingerprint(b"token")
    assert first.fingerprint(b"") == ""


def test_a_line_names_policy_reason_and_fingerprint_but_no_credentials() -> None:
    secret = GOOD.token(NOW, aud="other")
    bench = Bench(now=NOW)
    with capture_logs() as lines:
        for credentials in (*[b"Bearer " + secret] * 2, b"Basic " + secret, b"Bearer " + secret + b", x", secret):
            bench.authorizer.authorize(b"/verify", credentials)
    assert [line["reason"] for line in lines] == [
        "wrong_audience", "wrong_audience", "missing_token", "malformed_credentials", "missing_token",
    ]  # fmt: skip
    assert lines[0]["fingerprint"] == lines[1]["fingerprint"] != ""
    assert {(line["event"], line["policy"]) for line in lines} == {("request_rejected", "default")}
    for line in lines:
        assert set(line) == {"event", "log_level", "policy", "reason", "fingerprint", "request_id"}
        assert not any(segment.decode() in repr(line) for segment in secret.split(b"."))


@pytest.mark.parametrize("cached", [True, False])
def test_every_line_has_the_ids_of_its_request(*, cached: bool) -> None:
    policy = replace(POLICIES["default"], cookie="__Host-session", origins=frozenset({"https://app.example"}))
    bench = Bench({"default": policy}, now=NOW, cached=cached)
    credentials = b"Bearer " + GOOD.token(NOW)
    foreign = BrowserFields(cookies=b"__Host-session=x", site=b"cross-site")
    bench.authorizer.authorize(b"/verify", credentials)
    bench.now += 3600
    with capture_logs() as lines:
        for authorization, browser in ((credentials, None), (None, None), (b"Bearer x", None), (None, foreign)):
            bench.authorizer.authorize(b"/verify", authorization, *IDS, browser)
    assert [line["reason"] for line in lines] == ["expired", "missing_token", "malformed", "cross_origin"]
    # Only a token that was read has a fingerprint.
    assert [line["fingerprint"] != "" for line in lines] == [True, False, True, False]
    assert {(line["request_id"], line["trace_id"]) for line in lines} == {("gateway-0001", TRACE_ID)}


@pytest.mark.parametrize("received", [None, b"", b"short", b"a b", b"caf\xe9", b"a\r\nb"])
def test_ids_that_are_invalid_are_replaced_or_left_out(received: bytes | None) -> None:
    fields = RequestIds(received, received).as_log_fields()
    assert set(fields) == {"request_id"}
    assert re.fullmatch("[0-9a-f]{32}", fields["request_id"])
