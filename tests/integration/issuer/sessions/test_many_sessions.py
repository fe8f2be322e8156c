"""Accounts with many sessions: the limit, the pages of the list, and the revocation of all at once."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest

from issuer.audit.events import RevocationReason
from tests.integration.issuer.sessions.test_sessions import status_and_body
from tests.support.issuer_process import PASSWORD, IssuerProcess
from tests.support.postgres import execute
from tests.support.processes import wait_until
from tests.support.session_bench import CONTEXT, LOGIN, SessionBench, session_bench
from tests.support.token_forge import claims_of

pytestmark = pytest.mark.anyio

INVALID_GRANT = (400, {"error": "invalid_grant"})
MANY = 50_000
BUSY_SECONDS = 90.0
"""Time for requests that are repeated because a statement took longer than its timeout."""
ADD_SESSIONS = """
INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,
  status_list_id, status_idx, address, user_agent)
SELECT gen_random_uuid(), $1, 'first-party', 'profile', now() - n * interval '1 minute', now(),
  now() + interval '14 days', now() + interval '30 days', 0,
  n + greatest(
    (SELECT max(status_idx) FROM sessions WHERE status_list_id = 0),
    (SELECT max(status_idx) FROM revocations WHERE status_list_id = 0), 0
  ), '192.0.2.1', 'a browser'
FROM generate_series(1, $2::int) n
"""
"""Their status list indices are in a list from which no issuer leases."""
LIVE = "SELECT count(*) FROM sessions WHERE user_id = $1 AND ended_at IS NULL"


def subject(tokens: dict[str, Any]) -> UUID:
    return UUID(claims_of(tokens["access_token"])["sub"])


def events(issuer: IssuerProcess, user: UUID, kind: str) -> int:
    statement = "SELECT count(*) FROM audit_events WHERE kind = $1 AND user_id = $2"
    count: int = execute(issuer.database_url, statement, kind, user)[0][0]
    return count


def live_sessions(issuer: IssuerProcess, user: UUID) -> int:
    count: int = execute(issuer.database_url, LIVE, user)[0][0]
    return count


async def test_revoked_sessions_do_not_count_towards_the_limit(database_url: str) -> None:
    async with session_bench(database_url, per_account=3) as bench:
        account = await bench.account()

        async def log_in() -> str:
            bench.now += timedelta(minutes=1)
            return (await bench.sessions.create(account, LOGIN, CONTEXT)).refresh_token

        _, kept, ended = [await log_in() for _ in "abc"]
        session = bench.sessions.read_refresh_token(ended)
        assert session is not None
        await bench.sessions.revoke(session.session_id, account.id, RevocationReason.LOGOUT, CONTEXT)
        await log_in()
        await log_in()
        await bench.refresh(kept)
        assert len(await bench.sessions.list_for_user(account.id, None, 10)) == 3


async def test_a_session_that_was_not_used_for_too_long_is_not_listed(bench: SessionBench) -> None:
    account = await bench.account()
    await bench.sessions.create(account, LOGIN, CONTEXT)
    bench.now += timedelta(days=14) - timedelta(microseconds=1)
    assert len(await bench.sessions.list_for_user(account.id, None, 10)) == 1
    bench.now += timedelta(microseconds=1)
    assert await bench.sessions.list_for_user(account.id, None, 10) == []


async def test_expired_sessions_are_removed_before_live_ones(database_url: str) -> None:
    async with session_bench(database_url, per_account=3) as bench:
        account = await bench.account()
        kept = (await bench.sessions.create(account, LOGIN, CONTEXT)).refresh_token
        bench.now += timedelta(days=8)
        await bench.sessions.create(account, LOGIN, CONTEXT)
        await bench.sessions.create(account, LOGIN, CONTEXT)
        kept = await bench.refresh(kept)
        # The two have expired by now, although they are younger.
        bench.now += timedelta(days=14) - timedelta(seconds=1)
        kept = await bench.refresh(kept)
        bench.now += timedelta(seconds=2)
        await bench.sessions.create(account, LOGIN, CONTEXT)
        await bench.sessions.create(account, LOGIN, CONTEXT)
        await bench.refresh(kept)


async def test_parallel_logins_leave_no_more_sessions_than_the_limit(database_url: str) -> None:
    async with session_bench(database_url, connections=16, per_account=5) as bench:
        account = await bench.account()
        await asyncio.gather(*(bench.sessions.create(account, LOGIN, CONTEXT) for _ in range(60)))
        await bench.sessions.create(account, LOGIN, CONTEXT)
        assert len(await bench.sessions.list_for_user(account.id, None, 100)) == 5


def status_of(send: Callable[[], httpx.Response]) -> int:
    """Return the status. Repeats the request after 503, since a statement may take too long on a busy machine."""

    def unless_busy() -> int | None:
        status = send().status_code
        return None if status == 503 else status

    return wait_until(unless_busy, "the request is served", BUSY_SECONDS)


def change_password(issuer: IssuerProcess, tokens: dict[str, Any]) -> None:
    body = {"current_password": PASSWORD, "new_password": "another long and lonely walk"}
    request = partial(issuer.request, "POST", "/password", tokens["access_token"], json=body)
    assert status_of(request) in {200, 204}


def delete_account(issuer: IssuerProcess, tokens: dict[str, Any]) -> None:
    request = partial(issuer.request, "DELETE", "/me", tokens["access_token"], json={"password": PASSWORD})
    assert status_of(request) == 204


def log_in_once_more(issuer: IssuerProcess, tokens: dict[str, Any]) -> None:
    def is_within_the_limit() -> bool:
        assert status_of(lambda: issuer.login("log_in_once_more@example.com")) == 200
        return live_sessions(issuer, subject(tokens)) <= 100

    # On a busy machine a login may succeed without the statement that enforces the limit; the next one repeats it.
    wait_until(is_within_the_limit, "a login revokes the oldest sessions", BUSY_SECONDS)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("action", "left"),
    [(change_password, 1), (delete_account, 0), (log_in_once_more, 100)],
)
def test_fifty_thousand_sessions_are_revoked_within_a_statement_timeout(
    issuer: IssuerProcess, action: Callable[[IssuerProcess, dict[str, Any]], None], left: int
) -> None:
    tokens = issuer.session(f"{action.__name__}@example.com")
    account = subject(tokens)
    execute(issuer.database_url, ADD_SESSIONS, account, MANY)
    before = execute(issuer.database_url, "SELECT count(*) FROM revocations")[0][0]
    action(issuer, tokens)
    assert live_sessions(issuer, account) == left
    revoked = execute(issuer.database_url, "SELECT count(*) FROM revocations")[0][0] - before
    assert revoked == MANY + events(issuer, account, "login_succeeded") - left
    results = (
        "SELECT sum(coalesce((detail ->> 'sessions')::int, 1)) FROM audit_events WHERE kind = $1 AND user_id = $2"
    )
    assert execute(issuer.database_url, results, "session_revoked", account)[0][0] == revoked
    if left == 0:
        assert status_and_body(issuer.refresh(tokens["refresh_token"])) == INVALID_GRANT


def page(issuer: IssuerProcess, tokens: dict[str, Any], query: str) -> httpx.Response:
    return issuer.request("GET", f"/sessions{query}", tokens["access_token"])


def test_the_sessions_are_listed_in_pages(issuer: IssuerProcess) -> None:
    tokens = issuer.session("pages@example.com")
    execute(issuer.database_url, ADD_SESSIONS, subject(tokens), 234)
    whole = page(issuer, tokens, "").json()
    assert len(whole["sessions"]) == 100
    listed, cursor = whole["sessions"], whole["next"]
    while cursor:
        following = page(issuer, tokens, f"?limit=30&after={cursor}").json()
        listed, cursor = listed + following["sessions"], following["next"]
        assert len(listed) <= 235
    assert len(listed) == len({entry["id"] for entry in listed}) == 235
    assert [entry["created_at"] for entry in listed] == sorted((each["created_at"] for each in listed), reverse=True)
    assert listed[0]["current"]


def test_the_last_page_has_no_next(issuer: IssuerProcess) -> None:
    tokens = issuer.session("last-page@example.com")
    execute(issuer.database_url, ADD_SESSIONS, subject(tokens), 99)
    assert page(issuer, tokens, "?limit=100").json()["next"] is None
    assert page(issuer, tokens, "?limit=99").json()["next"] is not None


LIMIT = {"field": "limit", "detail": "must be a number from 1 to 100"}
AFTER = {"field": "after", "detail": "must be the `next` of an earlier page"}
OTHER = {
    "field": "limit",
    "detail": "and `after` may each be given once; other parameters are not supported",
}


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("?limit=0", LIMIT),
        ("?limit=101", LIMIT),
        ("?limit=", LIMIT),
        ("?limit=1e1", LIMIT),
        ("?limit=%D9%A1", LIMIT),
        ("?limit=1&limit=1", OTHER),
        ("?after=", AFTER),
        ("?after=x", AFTER),
        ("?after=1.2", AFTER),
        ("?after=99999999999999999999.00000000-0000-0000-0000-000000000000", AFTER),
        ("?offset=1", OTHER),
    ],
)
def test_an_impossible_page_is_rejected(issuer: IssuerProcess, query: str, fault: dict[str, str]) -> None:
    tokens = issuer.session(f"{abs(hash(query))}@example.com")
    rejected = page(issuer, tokens, query)
    assert (rejected.status_code, rejected.json()["errors"]) == (422, [fault])
