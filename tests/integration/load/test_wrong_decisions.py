"""`make bench-vectors` runs its contenders and counts their wrong decisions."""

from pathlib import Path

import pytest

from loadtests.bench.contenders import CONTENDERS, Contender
from loadtests.bench.wrong_decisions import Outcome, decide, to_text
from tests.support.bench_programs import core, programs
from tests.vectors.suite.cases import Case
from tests.vectors.suite.running import Result, Verdict


def contender(name: str) -> Contender:
    return next(one for one in CONTENDERS if one.name == name)


@pytest.mark.parametrize(("name", "wrong"), [("verifier", False), ("envoy", True), ("haproxy", True)])
def test_a_contender_decides_the_vectors(tmp_path: Path, name: str, wrong: bool) -> None:  # noqa: FBT001 - a case
    outcome = decide(contender(name), programs(), core(), tmp_path, key_sets=("issuer",))
    assert len(outcome.results) > 600
    assert bool(outcome.wrong_accepts("must")) == wrong
    algorithms = [one.case.id for one in outcome.wrong_accepts("must", "04-algorithm")]
    # HAProxy's strings end at NUL: `RS256` and NUL is RS256 to it.
    assert set(algorithms) <= {"spelling-4"}


def test_wrong_accepts_without_a_check_are_counted_apart() -> None:
    wrong = [_result("05-type", "refused-1"), _result("08-claims", "missing-exp"), _result("02-form", "empty")]
    outcome = Outcome(contender("oathkeeper"), tuple(wrong), ())
    row = next(line for line in to_text([outcome]).splitlines() if line.startswith("| oathkeeper"))
    assert row.split()[3:11:2] == ["3", "3", "1", "2"]


def _result(check: str, name: str) -> Result:
    return Result(
        Case(check, {"id": name, "severity": "must", "source": "RFC"}, timed=False), Verdict.WRONG_ACCEPT, 200
    )
