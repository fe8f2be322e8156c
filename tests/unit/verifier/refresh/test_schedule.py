"""The pure part of refreshing: how long until the next attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.refresh.schedule import Schedule

KEYS = Schedule(interval=300, max_age_bounds=(10, 3600), max_backoff=30, min_interval=10)
LISTS = Schedule(interval=2, max_age_bounds=None, max_backoff=2, min_interval=1)


@pytest.mark.parametrize(("max_age", "seconds"), [(None, 300), (0, 10), (60, 60), (10**9, 3600)])
def test_a_success_waits_as_the_source_states_within_bounds(max_age: float | None, seconds: float) -> None:
    assert KEYS.delay(0, max_age, 1) == seconds
    assert KEYS.delay(0, max_age, 0) == 0.75 * seconds


def test_a_schedule_without_bounds_ignores_the_source() -> None:
    assert LISTS.delay(0, 3600, 1) == 2


def test_failures_double_the_delay_up_to_the_longest() -> None:
    assert [KEYS.delay(failures, 3600, 1) for failures in (1, 2, 3, 4, 5, 6, 7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [LISTS.delay(failures, None, 1) for failures in (1, 2, 3)] == [1, 2, 2]


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_a_delay_is_bounded_however_long_a_source_is_down(failures: int, fraction: float) -> None:
    assert 0.75 <= KEYS.delay(failures, None, fraction) <= 30
