"""What locust's users were answered, and what is said of it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from loadtests.journeys.answers import (
    fault_in_between,
    fault_of_answer,
    fault_of_call,
    fault_of_refusal,
    seconds_to_wait,
)
from loadtests.journeys.costs import PARTS, spent_by
from loadtests.journeys.garbage import kid_of, spoilt
from loadtests.journeys.kinds import AUTH, CALL, JOURNEYS
from loadtests.journeys.knee import Knee, Step, find_knee
from loadtests.journeys.recorder import Recorder, ramp_to
from loadtests.journeys.report import to_csv, to_json, to_markdown, to_text
from loadtests.journeys.verdict import judge
from tests.support.token_forge import Forge
from tests.unit.loadtests.journey_runs import fault, figures, finished, phase, times


def _met(*faults: dict[str, Any], journey: str = "person", operations: Mapping[str, Any] | None = None) -> bool:
    return judge(JOURNEYS[journey], figures(*faults, **{"1000": phase(**(operations or {}))}), "1000").met


def test_a_run_within_all_bounds_is_met() -> None:
    assert _met()


@pytest.mark.parametrize(
    ("operation", "found", "met"),
    [
        ("login", times(p95=199.9, p99=900.0), True),
        *((operation, times(p95=200.0), False) for operation in AUTH),
        (CALL, times(p95=49.9, p99=49.9), True),
        (CALL, times(p95=50.0), False),
        (CALL, times(p95=10.0, p99=50.0), False),
        ("refused call", times(p95=10.0, p99=50.0), False),
        ("logout until refused", times(p95=2000.0, p99=3000.0), False),
    ],
)
def test_each_figure_is_held_against_the_bound_of_its_kind(
    operation: str, found: dict[str, float], *, met: bool
) -> None:
    assert _met(operations={operation: found}) is met


def test_one_wrong_answer_fails_the_run_even_while_users_came() -> None:
    assert not _met(fault(at="ramp to 1000"))


def test_what_was_not_measured_is_not_met() -> None:
    assert not judge(JOURNEYS["person"], figures(**{"1000": phase()}), "2000").met
    only_logins = {"seconds": 1.0, "spent": {}, "operations": {"login": times()}}
    assert not judge(JOURNEYS["person"], figures(**{"1000": only_logins}), "1000").met


def test_a_storm_is_judged_by_its_answers_and_not_by_how_long_they_take() -> None:
    assert _met(journey="login-storm", operations={"login": times(p95=2900.0)})
    assert not _met(fault("unavailable: 503"), journey="login-storm")


def test_a_rotation_that_did_not_happen_is_not_met() -> None:
    document = figures()
    assert not judge(JOURNEYS["rotation"], document, "1000").met
    assert judge(JOURNEYS["rotation"], {**document, "keys": ["one", "two"]}, "1000").met


def test_answers_are_judged_by_name() -> None:
    judged = [
        (fault_of_call(200), None),
        (fault_of_call(302), None),
        (fault_of_call(401), "wrong refusal: 401 for a live token"),
        (fault_of_call(403), "wrong refusal: 403 for a live token"),
        (fault_of_call(503), "unavailable: 503"),
        (fault_of_call(0), "no answer"),
        (fault_of_call(599), "answered 599"),
        (fault_of_refusal(401, "no token"), None),
        (fault_of_refusal(200, "no token"), "wrong accept: 200 for no token"),
        (fault_of_refusal(302, "no token"), "wrong accept: 302 for no token"),
        (fault_of_refusal(404, "no token"), "wrong accept: 404 for no token"),
        (fault_of_refusal(500, "no token"), "answered 500"),
        (fault_of_refusal(0, "no token"), "no answer"),
        (fault_in_between(200), None),
        (fault_in_between(401), None),
        (fault_in_between(503), "unavailable: 503"),
        (fault_of_answer(200, 200), None),
        (fault_of_answer(429, 200), "throttled: 429"),
        (fault_of_answer(302, 200), "answered 302"),
    ]
    assert [found for found, _ in judged] == [named for _, named in judged]


@pytest.mark.parametrize(
    ("status", "value", "seconds"), [(503, "2", 2), (503, "", None), (503, "soon", None), (200, "2", None)]
)
def test_only_a_503_that_says_when_asks_to_wait(status: int, value: str, seconds: int | None) -> None:
    assert seconds_to_wait(status, {"retry-after": value} if value else {}) == seconds


def test_a_spoilt_token_is_never_the_good_one() -> None:
    forge = Forge()
    good = forge.token(0).decode()
    ruined = spoilt(good)
    assert good not in ruined.values()
    assert len(set(ruined.values())) == len(ruined)
    assert kid_of(good) == forge.kid


def test_times_are_those_of_their_phase_and_faults_are_of_all() -> None:
    now = [0.0]
    spent = [{"locust": 0.0}]
    recorder = Recorder(lambda: spent[0], lambda: now[0])
    recorder.enter(ramp_to(3))
    recorder.note("login", 900.0, None)
    recorder.note("login", 1.0, "unavailable: 503")
    now[0], spent[0] = 2.0, {"locust": 1.0}
    recorder.enter("3")
    for milliseconds in range(1, 101):
        recorder.note("login", float(milliseconds), None)
    now[0], spent[0] = 12.0, {"locust": 4.0}
    recorder.leave()
    recorder.note("login", 5000.0, None)
    found = recorder.document()
    assert found["phases"]["3"]["operations"]["login"] == {
        "count": 100,
        "p50": 50.0,
        "p95": 95.0,
        "p99": 99.0,
        "longest": 100.0,
    }
    assert (found["phases"]["3"]["seconds"], found["phases"]["3"]["spent"]) == (10.0, {"locust": 3.0})
    assert found["faults"] == [{"phase": "ramp to 3", "operation": "login", "fault": "unavailable: 503", "count": 1}]


def test_progress_tells_what_happened_since_it_was_told_last() -> None:
    now = [0.0]
    recorder = Recorder(dict, lambda: now[0])
    recorder.note("login", 40.0, None)
    recorder.note("call", 2.0, "no answer")
    now[0] = 5.0
    assert recorder.progress(["login", "call"]).split() == ["0/s", "login", "p95", "40", "ms", "failures", "1"]
    now[0] = 10.0
    assert recorder.progress(["login"]).split() == ["0/s", "failures", "1"]


def test_the_costs_of_a_stack_that_has_died_are_nothing_and_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    found = spent_by(process.pid)()
    assert found["locust"] > 0
    assert {found[part] for part in PARTS} == {0.0}
    assert spent_by(None)().keys() == {"locust", "other programs"}


def _step(users: int, throughput: float, auth: float = 50.0, call: float = 5.0, failures: int = 0) -> Step:
    return Step(users, failures, throughput, auth, call, locust=0.5, machine=1.5)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (_step(300, 269.0), "each user gets 0.90 of"),
        (_step(300, 300.0, auth=200.0), "p95 of the slowest auth operation is 200 ms"),
        (_step(300, 300.0, call=50.0), "p95 of calls is 50 ms"),
        (_step(300, 300.0, failures=1), "1 answers were wrong"),
    ],
)
def test_the_knee_is_the_last_step_before_the_first_that_is_not_served(broken: Step, why: str) -> None:
    knee = find_knee([_step(100, 100.0), _step(200, 200.0), broken, _step(400, 400.0)])
    assert knee.users == 200
    assert why in knee.why


def test_a_sweep_without_a_knee_says_so() -> None:
    assert find_knee([_step(100, 100.0, failures=3)]).users is None
    beyond = find_knee([_step(100, 100.0), _step(200, 180.0)])
    assert beyond == Knee(200, "the last step was still served: the knee lies beyond it")


def test_the_report_has_every_operation_the_costs_and_the_verdict() -> None:
    text = to_text(finished(figures()))
    for words in (*AUTH, CALL, "1,000 users at a time", "pauses of 5 s", "locust 1.0", "of 20 core-seconds"):
        assert words in text
    assert text.endswith("verdict: met")
    assert "note:" not in text


def test_the_report_names_what_was_wrong_and_admits_its_own_part() -> None:
    document = figures(fault(count=3), **{"1000": phase(locust=9.0, others=5.0)})
    text = to_text(finished(document))
    assert "wrong: 3 x refused call: wrong accept: 200 for no token" in text
    assert "note: locust had little left" in text
    assert "note: other programs used 25% of the machine meanwhile" in text
    assert text.endswith("verdict: NOT MET")
    assert json.loads(to_json(finished(document)))["met"] is False


def test_a_page_of_results_is_a_table_that_nobody_typed() -> None:
    page = to_markdown(finished(figures()))
    assert page.startswith("# A load run\n\nWritten by `make load LOAD_ARGS=--publish`, today.")
    assert "| login | 100 | 10.0 | 5.0 | 10.0 | 10.0 | p95 < 200 ms | met |" in page


def test_a_sweep_reports_its_steps_and_its_knee() -> None:
    slow = phase(login=times(p95=900.0))
    sweep = finished(figures(**{"100": phase(), "200": phase(), "300": slow}), 100, 200, 300)
    assert "knee: 100 users; at 200 users each user gets 0.50 of the throughput" in to_text(sweep)
    assert to_csv(sweep).splitlines()[1] == "100,0,60.0,10.0,10.00,0.100,0.400"
    assert json.loads(to_json(sweep))["knee"]["users"] == 100
    assert sweep.met
