"""The time until the next attempt of a refresh."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.refresh.schedule import RequestLimiter, Schedule

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


def test_a_requested_attempt_that_finds_nothing_new_makes_the_next_wait() -> None:
    limiter = RequestLimiter(10)
    assert limiter.earliest(100) == 100
    limiter.attempted(100, found_new=False)
    assert limiter.earliest(101) == 110
    assert limiter.earliest(111) == 111


def test_a_requested_attempt_that_finds_something_new_makes_none_wait() -> None:
    limiter = RequestLimiter(10)
    for time in (100, 101, 102):
        assert limiter.earliest(time) == time
        limiter.attempted(time, found_new=True)


def test_after_an_attempt_that_had_to_wait_the_next_waits_too_whatever_was_found() -> None:
    limiter = RequestLimiter(10)
    limiter.attempted(100, found_new=False)
    assert limiter.earliest(101) == 110
    limiter.attempted(110, found_new=True)
    assert limiter.earliest(111) == 120


@given(st.lists(st.tuples(st.floats(0.001, 30), st.booleans()), max_size=50))
def test_attempts_that_find_nothing_new_are_an_interval_apart(requests: list[tuple[float, bool]]) -> None:
    limiter, now, vain = RequestLimiter(10), 0.0, -10.0
    for pause, found_new in requests:
        now = limiter.earliest(now + pause)
        assert now >= vain + 10
        limiter.attempted(now, found_new=found_new)
        vain = vain if found_new else now
