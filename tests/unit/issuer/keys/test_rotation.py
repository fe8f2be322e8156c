"""The times of key rotation."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from issuer.keys.models import KeyRecords, KeyState
from issuer.keys.rotation import (
    CLOCK_SKEW,
    KeyTransition,
    RotationPolicy,
    add_key,
    advance,
    needs_rotation,
    promote,
    remove,
    transitions_between,
)
from shared.access_token import MAX_LIFETIME_SECONDS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
POLICY = RotationPolicy()
PUBLIC = [rsa.generate_private_key(65537, 2048).public_key() for _ in range(3)]
MOST_LEEWAY = timedelta(seconds=60)
"""`VERIFIER_LEEWAY_SECONDS` at its bound."""


def states(records: KeyRecords) -> list[str]:
    return [key.state for key in records]


@pytest.fixture
def pair() -> KeyRecords:
    """Return a current and a next key, both created at `NOW`."""
    return add_key(add_key((), PUBLIC[0], NOW), PUBLIC[1], NOW)


def test_the_first_key_signs_at_once_and_others_wait(pair: KeyRecords) -> None:
    assert states(pair) == ["current", "next"]
    assert pair[0].activated_at == NOW
    assert pair[1].activated_at is None


def test_a_next_key_may_sign_when_every_verifier_must_have_fetched_it(pair: KeyRecords) -> None:
    through_a_cache = timedelta(seconds=2 * POLICY.jwks_max_age_seconds)
    earliest = NOW + through_a_cache + timedelta(seconds=40) + CLOCK_SKEW
    assert POLICY.due_at(pair[1]) == earliest
    assert not POLICY.is_due(pair[1], earliest - SECOND)
    assert POLICY.is_due(pair[1], earliest)


def test_the_delay_follows_how_long_the_key_set_may_be_cached() -> None:
    assert RotationPolicy(10, 90).publish_delay == timedelta(seconds=120)
    assert RotationPolicy(3600, 90).publish_delay == timedelta(seconds=7300)


def test_a_promotion_retires_the_previous_key_at_the_same_moment(pair: KeyRecords) -> None:
    later = NOW + timedelta(hours=1)
    records = promote(pair, later)
    assert states(records) == ["retired", "current"]
    assert records[0].retired_at == records[1].activated_at == later
    assert transitions_between(pair, records) == (
        KeyTransition("retired", records[0].kid),
        KeyTransition("promoted", records[1].kid),
    )


def test_a_promotion_leaves_retired_keys_published(pair: KeyRecords) -> None:
    records = add_key(promote(pair, NOW), PUBLIC[2], NOW)
    assert states(promote(records, NOW)) == ["retired", "retired", "current"]


def test_without_a_next_key_the_current_one_stays() -> None:
    records = add_key((), PUBLIC[0], NOW)
    assert promote(records, NOW) == records


def test_a_retired_key_is_published_until_its_last_token_has_expired(pair: KeyRecords) -> None:
    records = promote(pair, NOW)
    last_token_dies = NOW + timedelta(seconds=MAX_LIFETIME_SECONDS) + MOST_LEEWAY + CLOCK_SKEW
    assert advance(records, POLICY.is_due, last_token_dies) == records
    gone_at = POLICY.due_at(records[0])
    assert gone_at is not None
    assert advance(records, POLICY.is_due, gone_at - SECOND) == records
    assert states(advance(records, POLICY.is_due, gone_at)) == ["current"]


def test_next_and_current_keys_are_never_removed_by_age(pair: KeyRecords) -> None:
    assert states(advance(pair, POLICY.is_due, NOW + timedelta(days=3650))) == ["retired", "current"]


def test_one_successor_is_due_at_the_configured_age() -> None:
    records = add_key((), PUBLIC[0], NOW)
    due_at = NOW + timedelta(days=90)
    assert not needs_rotation(records, POLICY, due_at - SECOND)
    assert needs_rotation(records, POLICY, due_at)
    assert not needs_rotation(add_key(records, PUBLIC[1], due_at), POLICY, due_at)


def test_without_automatic_rotation_no_successor_is_due() -> None:
    records = add_key((), PUBLIC[0], NOW)
    assert not needs_rotation(records, RotationPolicy(300, 0), NOW + timedelta(days=3650))


def test_an_empty_key_set_has_no_successor_due() -> None:
    assert not needs_rotation((), POLICY, NOW)


def test_a_key_can_be_removed_in_any_state(pair: KeyRecords) -> None:
    records = add_key(promote(pair, NOW), PUBLIC[2], NOW)
    assert states(records) == list(map(str, (KeyState.RETIRED, KeyState.CURRENT, KeyState.NEXT)))
    retired, current, next_key = records
    for key in (retired, next_key):
        left = remove(records, key.kid, NOW)
        assert left == tuple(other for other in records if other is not key)
        assert transitions_between(records, left) == (KeyTransition("removed", key.kid),)
    assert transitions_between(records, remove(records, current.kid, NOW)) == (
        KeyTransition("removed", current.kid),
        KeyTransition("promoted", next_key.kid),
    )
