"""When a key moves on, at stated moments."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from issuer.keys.models import KeyRecords, KeyState
from issuer.keys.rotation import (
    CLOCK_SKEW,
    KeyTransition,
    RotationPolicy,
    add_key,
    needs_rotation,
    promote,
    prune_retired,
    remove_key,
    transitions_between,
)
from shared.access_token import MAX_LIFETIME_SECONDS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = RotationPolicy()
PUBLIC = [rsa.generate_private_key(65537, 2048).public_key() for _ in range(3)]
MOST_LEEWAY = timedelta(seconds=60)
"""`VERIFIER_LEEWAY_SECONDS` at its bound."""


def states(ring: KeyRecords) -> list[str]:
    return [key.state for key in ring]


@pytest.fixture
def pair() -> KeyRecords:
    """A current key and a next one, both of `NOW`."""
    return add_key(add_key((), PUBLIC[0], NOW), PUBLIC[1], NOW)


def test_the_first_key_signs_at_once_and_every_other_waits(pair: KeyRecords) -> None:
    assert states(pair) == ["current", "next"]
    assert pair[0].activated_at == NOW
    assert pair[1].activated_at is None


def test_a_next_key_may_sign_when_the_slowest_verifier_behind_a_cache_must_know_it(pair: KeyRecords) -> None:
    through_a_cache = 2 * POLICY.jwks_max_age
    earliest = NOW + through_a_cache + timedelta(seconds=40) + CLOCK_SKEW
    assert POLICY.due_at(pair[1]) == earliest
    assert not POLICY.is_due(pair[1], earliest - SECOND)
    assert POLICY.is_due(pair[1], earliest)


def test_the_delay_follows_how_long_the_key_set_may_be_cached() -> None:
    assert RotationPolicy.of(10, 90).publish_delay == timedelta(seconds=120)
    assert RotationPolicy.of(3600, 90).publish_delay == timedelta(seconds=7300)


def test_a_promotion_retires_the_key_before_in_the_same_moment(pair: KeyRecords) -> None:
    later = NOW + timedelta(hours=1)
    ring = promote(pair, later)
    assert states(ring) == ["retired", "current"]
    assert ring[0].retired_at == ring[1].activated_at == later
    assert transitions_between(pair, ring) == (
        KeyTransition("retired", ring[0].kid),
        KeyTransition("promoted", ring[1].kid),
    )


def test_without_a_next_key_nothing_is_promoted_and_the_current_one_goes_on() -> None:
    ring = add_key((), PUBLIC[0], NOW)
    assert promote(ring, NOW) == ring


def test_a_retired_key_is_published_until_the_last_token_that_it_signed_is_dead_everywhere(pair: KeyRecords) -> None:
    ring = promote(pair, NOW)
    last_token_dies = NOW + timedelta(seconds=MAX_LIFETIME_SECONDS) + MOST_LEEWAY + CLOCK_SKEW
    assert prune_retired(ring, POLICY, last_token_dies) == ring
    gone_at = POLICY.due_at(ring[0])
    assert gone_at is not None
    assert prune_retired(ring, POLICY, gone_at - SECOND) == ring
    assert states(prune_retired(ring, POLICY, gone_at)) == ["current"]


def test_neither_a_next_nor_a_current_key_ever_goes_by_itself(pair: KeyRecords) -> None:
    assert prune_retired(pair, POLICY, NOW + timedelta(days=3650)) == pair


def test_a_successor_is_wanted_at_the_set_age_and_only_one() -> None:
    ring = add_key((), PUBLIC[0], NOW)
    due_at = NOW + timedelta(days=90)
    assert not needs_rotation(ring, POLICY, due_at - SECOND)
    assert needs_rotation(ring, POLICY, due_at)
    assert not needs_rotation(add_key(ring, PUBLIC[1], due_at), POLICY, due_at)


def test_with_no_rotation_set_no_successor_is_ever_wanted() -> None:
    ring = add_key((), PUBLIC[0], NOW)
    assert not needs_rotation(ring, RotationPolicy.of(300, 0), NOW + timedelta(days=3650))


def test_an_empty_ring_wants_no_successor() -> None:
    assert not needs_rotation((), POLICY, NOW)


def test_a_dropped_key_is_dropped_in_any_state(pair: KeyRecords) -> None:
    ring = add_key(promote(pair, NOW), PUBLIC[2], NOW)
    assert states(ring) == list(map(str, (KeyState.RETIRED, KeyState.CURRENT, KeyState.NEXT)))
    for key in ring:
        left = remove_key(ring, key.kid)
        assert key not in left
        assert len(left) == 2
        assert transitions_between(ring, left) == (KeyTransition("removed", key.kid),)
