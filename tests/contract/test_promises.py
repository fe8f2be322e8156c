"""The published table of bounds agrees with the last run, with the documents and with the tests that it names."""

import json
import re
from dataclasses import replace

import pytest

from tests.promises.bounds import HELD, MEASURED, Bound, Held
from tests.promises.report import PAGE, RESULTS, Results, as_page, is_kept, verdict
from tests.support import documents
from tests.support.processes import ROOT

PUBLISHED = Results(**json.loads(RESULTS.read_text(encoding="utf-8")))
KEPT = replace(
    PUBLISHED, measured={name: bound.limit for name, bound in MEASURED.items()}, held=[one.test for one in HELD]
)


def test_the_page_is_that_of_the_last_run() -> None:
    assert documents.text(PAGE) == as_page(PUBLISHED), "run `python -m tests.promises --write`"


@pytest.mark.parametrize("bound", MEASURED.values(), ids=MEASURED)
def test_a_document_states_each_bound(bound: Bound) -> None:
    path, words = bound.published
    assert words in " ".join(documents.text(ROOT / path).split())


@pytest.mark.parametrize("held", HELD, ids=lambda held: held.promise)
def test_the_test_of_a_bound_exists(held: Held) -> None:
    file, _, function = held.test.partition("::")
    assert re.search(rf"def {function}\(", (ROOT / "tests" / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MEASURED)
def test_a_value_over_its_bound_is_a_broken_promise(name: str) -> None:
    bound = MEASURED[name]
    assert is_kept(KEPT)
    assert verdict(bound, bound.limit + 0.01) == "broken"
    assert not is_kept(replace(KEPT, measured={**KEPT.measured, name: bound.limit + 0.01}))
    missing = {other: value for other, value in KEPT.measured.items() if other != name}
    assert not is_kept(replace(KEPT, measured=missing))


def test_a_failed_test_is_a_broken_promise() -> None:
    assert not is_kept(replace(KEPT, held=KEPT.held[1:]))
