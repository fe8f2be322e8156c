"""When a worker leaves a connection to the others."""

import pytest

from verifier.acceptor import has_more_than_its_share
from verifier.metrics import Name, Pages


@pytest.mark.parametrize(
    ("ours", "fewest", "left"),
    [(1, 0, False), (2, 0, True), (6, 4, False), (7, 4, True), (126, 100, False), (127, 100, True), (9, None, False)],
)
def test_a_few_more_than_the_one_that_has_fewest_are_fair(ours: int, fewest: int | None, *, left: bool) -> None:
    assert has_more_than_its_share(ours, fewest) is left


def test_only_workers_that_are_ready_are_waited_for() -> None:
    pages = Pages(3)
    ours, second, third = (pages.connection_counts(number) for number in range(3))
    assert ours.fewest_elsewhere() is None
    for number, counts, held in ((1, second, 5), (2, third, 3)):
        counts.tell(held)
        pages[number].set(Name.READY, 1)
    ours.tell(1)
    assert ours.fewest_elsewhere() == 3
    pages[2].set(Name.READY, 0)
    assert ours.fewest_elsewhere() == 5
