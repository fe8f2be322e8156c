"""The observations that are violations, and those that a fault or a busy machine excuses."""

from dataclasses import replace

import pytest

from tests.chaos.invariants import (
    INEXCUSABLE,
    STARVED_LIMIT,
    Effect,
    Fault,
    Observation,
    Starvation,
    outcomes,
    violations,
)

CUT = Fault("cut", "gateway 1-verifier 1", 10.0, frozenset({("gateway 1", Effect.UNAVAILABLE)}), 1.0, 12.0)
SEEN = Observation(11.0, 11.5, "gateway 1", Effect.UNAVAILABLE)


def test_what_a_fault_must_cause_is_excused_while_it_lasts() -> None:
    assert violations([SEEN], [CUT], []) == []
    assert violations([SEEN], [], []) == [SEEN]


@pytest.mark.parametrize(
    "other",
    [
        replace(SEEN, surface="gateway 2"),
        replace(SEEN, effect=Effect.NO_RESPONSE),
        replace(SEEN, sent=9.0, received=9.9),
        replace(SEEN, sent=13.1, received=13.2),
    ],
    ids=["another surface", "another effect", "before it", "after the published recovery"],
)
def test_a_fault_excuses_no_other_observation(other: Observation) -> None:
    assert violations([other], [CUT], []) == [other]


@pytest.mark.parametrize("effect", sorted(INEXCUSABLE))
def test_correctness_is_never_excused(effect: Effect) -> None:
    wrong = replace(SEEN, effect=effect)
    everything = replace(CUT, excuses=frozenset({("gateway 1", effect)}))
    assert violations([wrong], [everything], [Starvation(0.0, 100.0, 100.0)]) == [wrong]


def test_a_busy_machine_excuses_missed_deadlines_only() -> None:
    busy = [Starvation(11.0, 11.4, 0.4)]
    assert violations([SEEN], [], busy) == []
    rejected = replace(SEEN, effect=Effect.REJECTED)
    assert violations([rejected], [], busy) == [rejected]


def test_a_revocation_may_be_late_by_the_time_that_the_machine_lost() -> None:
    late = replace(SEEN, effect=Effect.LATE, overdue=2.0)  # revoked 5 s before 11.0
    assert violations([late], [], [Starvation(6.0, 8.0, 2.0)]) == []
    assert violations([late], [], [Starvation(6.0, 8.0, 1.9)]) == [late]
    assert violations([late], [], [Starvation(0.0, 6.0, 6.0)]) == [late]


def test_recovery_may_take_longer_by_the_time_that_the_machine_lost() -> None:
    late = replace(SEEN, sent=14.5, received=14.6)
    assert violations([late], [CUT], [Starvation(12.0, 13.0, 1.4)]) == [late]
    assert violations([late], [CUT], [Starvation(12.0, 13.0, 1.6)]) == []
    never = replace(SEEN, sent=12.1 + STARVED_LIMIT, received=12.2 + STARVED_LIMIT)
    assert violations([never], [CUT], [Starvation(12.0, 13.0, 100.0)]) == [never]


def test_effects_belong_to_the_last_fault_that_has_them() -> None:
    later = replace(CUT, start=11.2, end=11.4)
    first, second = outcomes([SEEN, replace(SEEN, sent=10.5, received=10.7)], [CUT, later], [])
    assert (first.effects, second.effects) == ({Effect.UNAVAILABLE: 1}, {Effect.UNAVAILABLE: 1})
    assert first.noticed_after == pytest.approx(0.7)
    assert second.recovered_after == pytest.approx(0.1)
