"""Whether more verifiers do more is told from samples of real ones, round by round."""

import json
from pathlib import Path

import pytest

from loadtests.benchmark.material import make_material
from loadtests.benchmark.programs import DEBIAN_PACKAGES, find_programs
from loadtests.scaling.arrangements import ARRANGEMENTS, Arrangement
from loadtests.scaling.measuring import Sample, Site, measure
from loadtests.scaling.report import share_of_first, to_json, to_markdown
from tests.support.programs import program

MACHINE: dict[str, str | int] = {"cpu": "a chip", "cores": 2}


def sample(per_core: float) -> Sample:
    return Sample(rate=10.0, cores=1.0, per_core=per_core, least_share=1.0, p99_ms=1.0)


def named(name: str) -> Arrangement:
    return next(one for one in ARRANGEMENTS if one.name == name)


def test_ratios_are_taken_within_a_round() -> None:
    samples = {
        "1 worker": [sample(100), sample(50), sample(200)],
        "2 workers": [sample(90), sample(45), sample(100)],
    }
    found = share_of_first(named("2 workers"), samples)
    assert found is not None
    assert (found.median, found.low, found.high) == (0.9, 0.5, 0.9)


def test_without_its_smallest_an_arrangement_has_no_ratio() -> None:
    assert share_of_first(named("2 workers"), {"2 workers": [sample(90)]}) is None


def test_each_family_begins_with_one_verifier_of_one_worker() -> None:
    firsts = {one.family: one for one in reversed(ARRANGEMENTS)}
    assert {(one.verifiers, one.workers) for one in firsts.values()} == {(1, 1)}


def test_the_report_has_a_line_for_each_arrangement_and_every_sample_in_the_json() -> None:
    samples = {one.name: [sample(100), sample(110)] for one in ARRANGEMENTS}
    lines = to_markdown(samples, MACHINE, 4).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[4:]] == [one.name for one in ARRANGEMENTS]
    assert [len(found) for found in json.loads(to_json(samples, MACHINE, 4))["samples"].values()] == [2] * len(
        lines[4:]
    )


@pytest.mark.parametrize("name", ["2 workers, cached", "2 behind nginx"])
def test_real_verifiers_are_measured(name: str, tmp_path: Path) -> None:
    for needed in DEBIAN_PACKAGES:
        program(needed)
    site = Site(tmp_path, make_material(tmp_path), find_programs(print))
    measured = measure(named(name), site, 1)
    assert measured.rate > 0
    assert measured.cores > 0
    assert measured.least_share > 0, "each of them has work"
