"""The verdict of a soak run."""

from collections.abc import Callable

import pytest

from loadtests.soak.sampling import PartSample, Sample, TableSample
from loadtests.soak.verdict import MIB, UNAVAILABLE, Finding, evaluate, to_markdown

HOUR = 3600.0
COUNT = 61


def run(
    memory_mib: Callable[[float], float] = lambda _: 60.0,
    descriptors: Callable[[float], float] = lambda _: 20.0,
    bytes_per_session: int = 500,
    status_list_bytes: int = 1000,
) -> list[Sample]:
    """Return an hour of samples, one a minute; memory and descriptors are functions of the elapsed fraction."""
    return [
        Sample(
            seconds=moment * HOUR,
            parts={"issuer": PartSample(1, int(memory_mib(moment) * MIB), int(descriptors(moment)), 0.0)},
            tables={"sessions": TableSample(int(10_000 * moment), int(10_000 * moment * bytes_per_session), 0)},
            status_lists={"1": status_list_bytes},
            keys=["first", "second"] if moment > 0.5 else ["first"],
        )
        for moment in (number / (COUNT - 1) for number in range(COUNT))
    ]


def unmet(samples: list[Sample], failures: tuple[tuple[str, str, int], ...] = (), rotations: int = 1) -> list[str]:
    """Return the names of the bounds that are not met."""
    return [finding.name for finding in evaluate(samples, failures, rotations) if finding.met is False]


def test_a_run_without_growth_meets_every_bound() -> None:
    assert unmet(run()) == []


def test_growth_during_the_start_does_not_count() -> None:
    assert unmet(run(memory_mib=lambda moment: 40 + 100 * min(moment, 0.4))) == []


def test_memory_that_keeps_growing_is_reported() -> None:
    assert unmet(run(memory_mib=lambda moment: 60 + 6 * moment)) == ["issuer: memory, MiB"]


def test_descriptors_that_leak_are_reported() -> None:
    assert unmet(run(descriptors=lambda moment: 20 + 30 * moment)) == ["issuer: descriptors"]


def test_rows_heavier_than_published_are_reported() -> None:
    assert unmet(run(bytes_per_session=1100)) == ["table sessions, rows"]


def test_a_status_list_too_large_for_verifiers_is_reported() -> None:
    assert unmet(run(status_list_bytes=512 * 1024 + 1)) == ["status lists, bytes"]


def test_a_key_that_was_never_published_is_reported() -> None:
    assert unmet(run(), rotations=2) == ["keys"]


@pytest.mark.parametrize(("failure", "expected"), [("wrong accept: 200", ["wrong responses"]), (UNAVAILABLE, [])])
def test_a_wrong_response_is_reported_and_an_unavailable_service_counted(failure: str, expected: list[str]) -> None:
    assert unmet(run(), (("call", failure, 1),)) == expected


def test_the_table_names_what_is_not_met() -> None:
    findings = [Finding("memory", "1", "9", "+8", "<= 5", met=False), Finding("rows", "0", "1", "+1", "", met=None)]
    assert to_markdown(findings).splitlines() == [
        "|        | start | end | growth | bound | result  |",
        "| ------ | ----: | --: | -----: | ----- | ------- |",
        "| memory |     1 |   9 |     +8 | <= 5  | NOT MET |",
        "| rows   |     0 |   1 |     +1 |       |         |",
    ]
