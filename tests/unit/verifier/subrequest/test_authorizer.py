"""The authorizer fails closed, requests keys, counts decisions and bounds the cache."""

import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.claims import StatusReference
from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, NOW, OTHER_ISSUER, STATUS_LIST, UNPUBLISHED, listed
from tests.support.vectors import KEY_SETS, POLICIES, Bench, identity, status_of
from verifier.decision.profile import Profile
from verifier.decision.status import Status, StatusLists
from verifier.policy_file import Configuration
from verifier.subrequest.decision_cache import DecisionCache

BEARER = b"Bearer " + GOOD.token(NOW)


class Broken(StatusLists):
    """Status lists whose lookup fails."""

    def status(self, reference: StatusReference, now: float) -> Status:
        raise RuntimeError(reference.uri, now)


def test_an_internal_error_is_a_503_logged_without_the_token() -> None:
    bench = Bench(now=NOW)
    bench.authorizer.replace_status_lists(Broken())
    token = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 1}})
    with capture_logs() as lines:
        response = bench.authorizer.authorize(b"/verify", b"Bearer " + token, b"gateway-0001")
    assert status_of(response) == 503
    assert [(line["event"], line["policy"]) for line in lines] == [
        ("decision_failed", "default"),
        ("request_rejected", "default"),
    ]
    assert bench.decisions() == {("default", "undecidable", "internal_error"): 1}
    assert {line["request_id"] for line in lines} == {"gateway-0001"}
    assert lines[1]["fingerprint"] == ""
    assert token.decode() not in repr([{**line, "exc_info": None} for line in lines])


def test_an_internal_error_is_a_503_also_after_a_cached_acceptance() -> None:
    bench = Bench(now=NOW)
    token = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 1}})
    assert status_of(bench.authorizer.authorize(b"/verify", b"Bearer " + token)) == 200
    bench.authorizer.replace_status_lists(Broken())
    with capture_logs():
        assert status_of(bench.authorizer.authorize(b"/verify", b"Bearer " + token)) == 503


def test_an_unknown_key_requests_a_refresh_and_a_bad_signature_does_not() -> None:
    bench = Bench(now=NOW)
    bench.authorizer.authorize(b"/verify", b"Bearer " + UNPUBLISHED.token(NOW, {"kid": GOOD.kid}))
    assert bench.unknown_keys == 0
    bench.authorizer.authorize(b"/verify", b"Bearer " + UNPUBLISHED.token(NOW))
    assert bench.unknown_keys == 1
    bench.authorizer.replace_keys(KEY_SETS["none"])
    bench.authorizer.authorize(b"/verify", BEARER)
    assert bench.unknown_keys == 2


def test_a_key_whose_name_another_issuer_uses_too_is_requested() -> None:
    bench = Bench(now=NOW, keys=KEY_SETS["kid-of-its-own"])
    of_other_issuer = UNPUBLISHED.token(NOW, {"kid": "shared"}, iss=OTHER_ISSUER)
    response, reason = bench.authorize(b"/verify/two-issuers", b"Bearer " + of_other_issuer)
    assert (status_of(response), reason, bench.unknown_keys) == (503, "keys_unavailable", 1)
    bench.authorizer.authorize(b"/verify/two-issuers", b"Bearer " + UNPUBLISHED.token(NOW, {"kid": "shared"}))
    assert bench.unknown_keys == 1


def test_the_keys_that_a_token_needs_are_requested_by_issuer_and_algorithm() -> None:
    by_ec = Profile(name="by EC", algorithms=frozenset({"ES256"}), token_types=None)
    both = replace(POLICIES["two-issuers"], name="default", profiles={OTHER_ISSUER: by_ec})
    bench = Bench({"default": both}, now=NOW)
    for issuer in (OTHER_ISSUER, ISSUER):
        for algorithm in ("ES256", "RS256"):
            token = UNPUBLISHED.token(NOW, {"alg": algorithm}, iss=issuer)
            bench.authorizer.authorize(b"/verify", b"Bearer " + token)
    # A fetch for an algorithm that the issuer does not use would have no result.
    assert bench.issuers_of_unknown_keys == [OTHER_ISSUER, ISSUER]


@pytest.mark.parametrize("issuer", ["https://another.example", ["https://issuer.example"], 1, None, ...])
def test_an_unknown_key_of_an_issuer_that_the_policy_does_not_accept_is_not_requested(issuer: Any) -> None:
    bench = Bench(now=NOW)
    response, reason = bench.authorize(b"/verify", b"Bearer " + UNPUBLISHED.token(NOW, iss=issuer))
    assert (status_of(response), reason, bench.unknown_keys) == (401, "unknown_key", 0)


@pytest.mark.parametrize("algorithm", ["HS512", "none", "ES256"])
def test_a_key_for_an_algorithm_that_the_issuer_does_not_use_is_not_requested(algorithm: str) -> None:
    # Keycloak's refresh tokens are such. A fetch for one of them would delay that of the next new key by ten seconds.
    bench = Bench(now=NOW)
    response, reason = bench.authorize(b"/verify", b"Bearer " + UNPUBLISHED.token(NOW, {"alg": algorithm}))
    assert (status_of(response), reason, bench.unknown_keys) == (401, "unsupported_algorithm", 0)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"{", b"[]", b'"iss"', b"[" * 5000, b'{"iss":"a","iss":"a"}'])
def test_an_unknown_key_over_claims_that_are_no_object_is_not_requested(payload: bytes) -> None:
    bench = Bench(now=NOW)
    token = UNPUBLISHED.sign(json.dumps(UNPUBLISHED.header()).encode(), payload)
    response, reason = bench.authorize(b"/verify", b"Bearer " + token)
    assert (status_of(response), reason, bench.unknown_keys) == (401, "unknown_key", 0)


def test_decisions_are_counted_by_policy_and_reason() -> None:
    bench = Bench(now=NOW)
    for target, credentials in ((b"/verify", BEARER), (b"/verify", BEARER), (b"/verify", None), (b"/x", BEARER)):
        bench.authorizer.authorize(target, credentials)
    bench.authorizer.authorize(b"/verify/anonymous", None)
    bench.authorizer.replace_keys(KEY_SETS["none"])
    bench.authorizer.authorize(b"/verify", BEARER)
    assert bench.decisions() == {
        ("default", "allowed", "verified"): 1,
        ("default", "allowed", "cached"): 1,
        ("default", "rejected", "missing_token"): 1,
        ("", "rejected", "unknown_policy"): 1,
        ("anonymous", "allowed", "anonymous"): 1,
        ("default", "undecidable", "keys_unavailable"): 1,
    }


def test_fresh_decisions_are_timed_and_the_cache_is_measured() -> None:
    bench = Bench(now=NOW)
    for credentials in (BEARER, BEARER, None):
        bench.authorizer.authorize(b"/verify", credentials)

    def value(name: str) -> float | None:
        return bench.metrics.registry.get_sample_value(f"gatepass_verifier_{name}")

    assert value("decision_seconds_count") == 2
    assert 0 < (value("decision_seconds_sum") or 0) < 10
    assert value("cache_entries") == 1
    assert value("cache_bytes") == bench.cache.size_bytes > 0


def test_only_acceptances_are_cached() -> None:
    bench = Bench(now=NOW)
    for number in range(50):
        bench.authorizer.authorize(b"/verify", BEARER + str(number).encode())
        bench.authorizer.authorize(b"/verify", b"Basic %d" % number)
    assert len(bench.cache) == 0
    bench.authorizer.authorize(b"/verify", BEARER)
    assert len(bench.cache) == 1


def test_the_cache_holds_no_token() -> None:
    bench = Bench(now=NOW)
    bench.authorizer.authorize(b"/verify", BEARER)
    held = repr(list(bench.cache._entries.items()))
    assert not any(segment.decode() in held for segment in BEARER[7:].split(b"."))


def test_new_policies_apply_from_the_next_request() -> None:
    bench = Bench(now=NOW)
    assert status_of(bench.authorizer.authorize(b"/verify", BEARER)) == 200
    bench.authorizer.replace_configuration(Configuration({"default": POLICIES["other-audience"]}, {}))
    assert status_of(bench.authorizer.authorize(b"/verify", BEARER)) == 401
    assert status_of(bench.authorizer.authorize(b"/verify/anonymous", None)) == 403


def test_a_revoked_token_is_rejected_at_its_next_use() -> None:
    bench = Bench(now=NOW)
    reference = {"uri": STATUS_LIST, "idx": 9}
    credentials = b"Bearer " + GOOD.token(NOW, status={"status_list": reference})
    assert status_of(bench.authorizer.authorize(b"/verify", credentials)) == 200
    bench.follow(listed(9))
    response, reason = bench.authorize(b"/verify", credentials)
    assert (status_of(response), reason) == (401, "revoked")


def test_a_token_with_a_status_is_served_from_the_cache_while_its_list_is_known() -> None:
    bench = Bench(now=NOW)
    bench.follow(listed(1, counts_until=NOW + 60))
    credentials = b"Bearer " + GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 9}})
    for _ in range(2):
        assert status_of(bench.authorizer.authorize(b"/verify", credentials)) == 200
    assert bench.decisions() == {("default", "allowed", "verified"): 1, ("default", "allowed", "cached"): 1}
    bench.now += 60
    assert status_of(bench.authorizer.authorize(b"/verify", credentials)) == 503


def test_an_unknown_list_is_a_503_and_requests_the_list_but_no_key() -> None:
    bench = Bench(now=NOW)
    credentials = b"Bearer " + GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 9}})
    assert status_of(bench.authorizer.authorize(b"/verify", credentials)) == 200
    bench.follow({ISSUER: {}})
    response, reason = bench.authorize(b"/verify", credentials)
    assert (status_of(response), reason) == (503, "status_unavailable")
    assert (bench.unknown_lists, bench.unknown_keys) == (1, 0)
    unknown_key = UNPUBLISHED.token(NOW, status={"status_list": {"uri": "x", "idx": 9}})
    bench.authorizer.authorize(b"/verify", b"Bearer " + unknown_key)
    assert (bench.unknown_lists, bench.unknown_keys) == (1, 1)
    bench.follow(listed())
    assert status_of(bench.authorizer.authorize(b"/verify", credentials)) == 200


@pytest.mark.parametrize("entries", [0, 1, 2, 3])
def test_a_tiny_cache_does_not_prevent_decisions(entries: int) -> None:
    bench = Bench(now=NOW, cache=DecisionCache(entries, 2**16))
    tokens = [b"Bearer " + GOOD.token(NOW, jti=f"t{number}") for number in range(3)]
    for credentials in tokens * 3:
        assert identity(bench.authorizer.authorize(b"/verify", credentials))["X-Auth-Subject"]
    assert len(bench.cache) <= entries
    bench.authorizer.authorize(b"/verify", tokens[-1])
    assert (bench.decisions().get(("default", "allowed", "cached"), 0) > 0) == (entries > 0)
