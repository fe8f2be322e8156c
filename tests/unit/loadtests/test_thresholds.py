"""The thresholds of a load run."""

import re
from argparse import ArgumentTypeError
from dataclasses import dataclass, field

import pytest

from loadtests.checks import check_call, check_either, check_rejection, check_status, retry_after_seconds
from loadtests.invalid_tokens import corrupt, kid_of
from loadtests.scenarios import AUTH, CALL, NO_SCENARIO, SCENARIOS
from loadtests.sweep_steps import Knee, Step, find_knee, parse_steps
from loadtests.thresholds import AUTH_P95_MS, all_met, evaluate, to_markdown


@dataclass
class Stats:
    """Statistics of responses that all took the same time."""

    name: str
    milliseconds: int
    num_requests: int = 100
    asked: list[float] = field(default_factory=list)

    def get_response_time_percentile(self, percent: float) -> int:
        self.asked.append(percent)
        return self.milliseconds


FAST = {name: Stats(name, 10) for name in (*AUTH, CALL)}


def test_fast_responses_without_failures_meet_everything() -> None:
    results = evaluate(FAST, 0, 1, SCENARIOS["typical"])
    assert all_met(results)
    assert [result.name for result in results] == [*AUTH, CALL, "failures"]


@pytest.mark.parametrize(
    ("changed", "failures", "keys"),
    [
        ({"login": Stats("login", int(AUTH_P95_MS))}, 0, 2),
        ({CALL: Stats(CALL, 50)}, 0, 2),
        ({CALL: Stats(CALL, 10, num_requests=0)}, 0, 2),
        ({}, 1, 2),
        ({}, 0, 1),
    ],
    ids=["slow login", "slow call", "no call", "a failure", "one signing key"],
)
def test_a_single_miss_fails_the_run(changed: dict[str, Stats], failures: int, keys: int) -> None:
    assert not all_met(evaluate(FAST | changed, failures, keys, SCENARIOS["key-rotation"]))


def test_a_required_operation_that_never_happened_fails_the_run() -> None:
    assert not all_met(evaluate({"login": Stats("login", 10)}, 0, 0, SCENARIOS["steady-calls"]))
    assert all_met(evaluate({"login": Stats("login", 10)}, 0, 0, NO_SCENARIO))


def test_a_run_without_a_response_fails() -> None:
    assert not all_met(evaluate({}, 0, 0, NO_SCENARIO))
    assert not all_met(evaluate({CALL: Stats(CALL, 0, num_requests=0)}, 0, 0, NO_SCENARIO))


def test_a_login_storm_has_no_bound_on_logins() -> None:
    assert all_met(evaluate({"login": Stats("login", 5000)}, 0, 1, SCENARIOS["login-storm"]))


def test_the_table_has_rates_only_for_what_was_timed() -> None:
    table = re.sub(" +", " ", to_markdown(evaluate({CALL: Stats(CALL, 60)}, 3, 1, NO_SCENARIO), seconds=10))
    assert "| call | 100 | 10.0 | 60 | 60 | 60 | p95 < 50 ms, p99 < 50 ms | NOT MET |" in table
    assert "| failures | 3 | | | | | 0 | NOT MET |" in table


def test_an_expected_response_is_no_failure() -> None:
    found = [check_call(200), check_call(302), check_rejection(401, "no token"), check_status(201, 201)]
    assert [*found, check_either(401), check_either(200)] == [None] * 6


def test_each_wrong_response_has_the_name_of_its_failure() -> None:
    assert check_call(401) == "wrong rejection: 401 for a valid token"
    assert check_call(0) == "no response"
    assert check_rejection(200, "no token") == "wrong accept: 200 for no token"
    assert check_rejection(404, "no token") == "wrong accept: 404 for no token"
    assert check_rejection(503, "no token") == "unavailable: 503"
    assert check_either(403) == "wrong rejection: 403 for a valid token"
    assert check_status(429, 200) == "rate limited: 429"


def test_only_a_503_asks_to_retry_later() -> None:
    found = [
        retry_after_seconds(status, {"retry-after": value}) for status, value in ((503, "7"), (503, "x"), (200, "7"))
    ]
    assert found == [7, None, None]


def test_corrupted_tokens_differ_from_the_valid_one() -> None:
    token = "eyJraWQiOiJrMSJ9.eyJzY29wZSI6InByb2ZpbGUifQ.c2lnbmF0dXJlc2lnbmF0dXJl"
    assert kid_of(token) == "k1"
    variants = corrupt(token).values()
    assert token not in variants
    assert len(set(variants)) == len(corrupt(token))


def _step(users: int, **changes: float) -> Step:
    figures = {"failures": 0, "throughput": users / 2, "auth_p95_ms": 40, "call_p95_ms": 5}
    return Step(users=users, locust_cores=0.1, machine_cores=1.0, **{**figures, **changes})  # type: ignore[arg-type] # failures is an int


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (_step(200, failures=2), "at 200 users 2 responses were wrong"),
        (_step(200, auth_p95_ms=200), "at 200 users p95 of the slowest auth operation is 200 ms"),
        (_step(200, call_p95_ms=50), "at 200 users p95 of calls is 50 ms"),
        (_step(200, throughput=80), "at 200 users each user gets 0.80 of the first step's throughput"),
    ],
)
def test_the_knee_is_the_last_step_that_was_served(last: Step, reason: str) -> None:
    assert find_knee([_step(100), last]) == Knee(100, reason)
    assert find_knee([_step(100), _step(200)]).users == 200
    assert find_knee([_step(100, failures=1)]).users is None


@pytest.mark.parametrize("text", ["", "0,10", "20,10", "10,10", "ten"])
def test_steps_must_be_growing_numbers(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="growing numbers"):
        parse_steps(text)
