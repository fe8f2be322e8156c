"""The outcome of a presented refresh token: a pure function of the session, the token and the time."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from issuer.sessions.models import MAX_RETRIES, SessionState
from issuer.tokens.refresh_token import RefreshToken

PARALLEL: Final = timedelta(seconds=2)
"""Requests with one refresh token within this time count as one: several tabs of a browser may refresh together."""

MAX_RETRIED_IN_A_ROW: Final = 5
"""Maximum number of refreshes in a row with a token that was presented again. More mean that two parties have it."""


class RefreshOutcome(Enum):
    """Outcomes of a refresh. The value is the label of its metric."""

    ROTATE = "rotated"
    PARALLEL = "parallel"
    RETRY = "retried"
    REUSED = "reused"
    GENERATION_AHEAD = "generation_ahead"
    RETRY_LIMIT_EXCEEDED = "retry_limit_exceeded"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DISABLED = "disabled"
    INVALID = "invalid"


SUCCESSES: Final = {RefreshOutcome.ROTATE, RefreshOutcome.PARALLEL, RefreshOutcome.RETRY}
"""Outcomes with new tokens."""


def evaluate_refresh(  # noqa: PLR0911 - one return for each case of the rule
    state: SessionState | None, presented: RefreshToken, client_id: str | None, now: datetime, retry: timedelta
) -> RefreshOutcome:
    """Return the outcome for `presented`, whose MAC was verified. The first case that applies decides.

    The token is bound to the client of its session; a request need not name it (RFC 6749 §6 and §10.4).

    The previous token gets its successor again: for parallel requests, and within `retry` because the response may
    have been lost. Later, or after its successor was used, this is reuse: two parties have the token, and it is
    unknown which one is legitimate (RFC 9700 §4.14.2). It is also reuse if the tokens of several refreshes in a row
    were presented twice: responses are not lost so regularly, so a second party refreshes in step with the first. Too
    many retries of one token are rejected without revoking the session: the client has a bug, no token was stolen.
    """
    if state is None or client_id not in {None, state.client_id}:
        return RefreshOutcome.INVALID
    if state.revoked_at is not None:
        return RefreshOutcome.REVOKED
    if state.expires_at <= now:
        return RefreshOutcome.EXPIRED
    if state.disabled_at is not None or state.client is None:
        return RefreshOutcome.DISABLED
    match state.generation - presented.generation:
        case 0:
            return RefreshOutcome.ROTATE
        case difference if difference < 0:
            return RefreshOutcome.GENERATION_AHEAD
        case 1 if state.rotated_ago <= PARALLEL:
            return RefreshOutcome.PARALLEL
        case 1 if state.rotated_ago <= retry and state.retried_in_a_row < MAX_RETRIED_IN_A_ROW:
            return RefreshOutcome.RETRY if state.retries < MAX_RETRIES else RefreshOutcome.RETRY_LIMIT_EXCEEDED
        case _:
            return RefreshOutcome.REUSED
