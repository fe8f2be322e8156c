"""The decision about a refresh token by its counter and age."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.sessions.models import SessionState, TokenPair
from issuer.sessions.refresh_policy import RefreshOutcome, evaluate_refresh
from issuer.status_lists.models import StatusListEntry
from issuer.tokens.models import default_client
from issuer.tokens.refresh_token import RefreshToken

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SESSION = UUID(int=1)
STATE = SessionState(
    id=SESSION,
    user_id=UUID(int=2),
    client_id="first-party",
    generation=7,
    retries=0,
    retried_in_a_row=0,
    created_at=NOW - timedelta(days=1),
    rotated_ago=timedelta(seconds=5),
    expires_at=NOW + timedelta(days=14),
    revoked_at=None,
    disabled_at=None,
    client=default_client("gatepass"),
    login_scope="profile",
    scope_limited=False,
    audiences=None,
    scope="profile",
    roles=(),
    claims={},
    index=StatusListEntry(1, 1),
)
RETRY = timedelta(seconds=120)
JUST_NOW = replace(STATE, rotated_ago=timedelta(seconds=2))
LONG_AGO = replace(STATE, rotated_ago=timedelta(seconds=120, microseconds=1))
IN_STEP = replace(STATE, retried_in_a_row=5)


@pytest.mark.parametrize(
    ("state", "generation", "verdict"),
    [
        (STATE, 7, RefreshOutcome.ROTATE),
        (LONG_AGO, 7, RefreshOutcome.ROTATE),
        (STATE, 6, RefreshOutcome.RETRY),
        (replace(STATE, rotated_ago=RETRY), 6, RefreshOutcome.RETRY),
        (replace(STATE, retries=49), 6, RefreshOutcome.RETRY),
        (replace(STATE, retries=50), 6, RefreshOutcome.RETRY_LIMIT_EXCEEDED),
        (replace(STATE, retries=50), 7, RefreshOutcome.ROTATE),
        (JUST_NOW, 7, RefreshOutcome.ROTATE),
        (JUST_NOW, 6, RefreshOutcome.PARALLEL),
        (replace(JUST_NOW, retries=50, retried_in_a_row=5), 6, RefreshOutcome.PARALLEL),
        (replace(JUST_NOW, rotated_ago=timedelta(seconds=2, microseconds=1)), 6, RefreshOutcome.RETRY),
        (replace(JUST_NOW, rotated_ago=timedelta(seconds=-1)), 6, RefreshOutcome.PARALLEL),
        (JUST_NOW, 5, RefreshOutcome.REUSED),
        (replace(STATE, retried_in_a_row=4), 6, RefreshOutcome.RETRY),
        (IN_STEP, 6, RefreshOutcome.REUSED),
        (IN_STEP, 7, RefreshOutcome.ROTATE),
        (LONG_AGO, 6, RefreshOutcome.REUSED),
        (replace(LONG_AGO, retries=50), 6, RefreshOutcome.REUSED),
        (STATE, 5, RefreshOutcome.REUSED),
        (STATE, 0, RefreshOutcome.REUSED),
        (STATE, 8, RefreshOutcome.GENERATION_AHEAD),
        (LONG_AGO, 1000, RefreshOutcome.GENERATION_AHEAD),
        (None, 7, RefreshOutcome.INVALID),
    ],
)
def test_a_refresh_token_is_decided_by_its_counter(
    state: SessionState | None, generation: int, verdict: RefreshOutcome
) -> None:
    assert evaluate_refresh(state, RefreshToken(SESSION, generation), "first-party", NOW, RETRY) is verdict


@given(st.integers(0, 20))
def test_an_expired_or_revoked_session_rejects_every_token(generation: int) -> None:
    token = RefreshToken(SESSION, generation)
    assert (
        evaluate_refresh(replace(STATE, revoked_at=NOW), token, "first-party", NOW, RETRY) is RefreshOutcome.REVOKED
    )
    assert (
        evaluate_refresh(replace(STATE, expires_at=NOW), token, "first-party", NOW, RETRY) is RefreshOutcome.EXPIRED
    )
    assert (
        evaluate_refresh(replace(STATE, disabled_at=NOW), token, "first-party", NOW, RETRY) is RefreshOutcome.DISABLED
    )
    assert evaluate_refresh(replace(STATE, client=None), token, None, NOW, RETRY) is RefreshOutcome.DISABLED
    assert evaluate_refresh(STATE, token, "another-client", NOW, RETRY) is RefreshOutcome.INVALID
    assert evaluate_refresh(STATE, token, None, NOW, RETRY) is not RefreshOutcome.INVALID


def test_no_repr_shows_issued_tokens() -> None:
    shown = repr(TokenPair("the access token", "the refresh token", 600, 3600, "profile"))
    assert "the access" not in shown
    assert "the refresh" not in shown
