"""The published mutation scores are the recorded ones, and each surviving mutant has a reason."""

import json
from typing import Any

import pytest

from tests.mutants.scores import PAGE, RESULTS, with_scores
from tests.support import documents

RECORDED = json.loads(RESULTS.read_text(encoding="utf-8"))


def test_the_table_is_that_of_the_record() -> None:
    page = documents.text(PAGE)
    assert page == with_scores(page, RECORDED), "record scores with `--write`"


@pytest.mark.parametrize("record", RECORDED.values(), ids=RECORDED)
def test_the_score_counts_the_survivors_and_each_has_a_reason(record: dict[str, Any]) -> None:
    survivors = record["survivors"]
    assert record["score"] == round(100 * (1 - len(survivors) / record["mutants"]), 1)
    assert [one["mutant"] for one in survivors if not one["reason"]] == []
