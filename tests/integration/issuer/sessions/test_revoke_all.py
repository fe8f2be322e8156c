"""One command revokes everything that was issued. `test_restore.py` tests it with an issuer and a verifier."""

import asyncio
import json
from datetime import timedelta

import pytest

from issuer.sessions import revoke_all_store
from issuer.sessions.revoke_all_store import Issued, count_issued, revoke_all
from issuer.status_lists.publisher import POLL_SECONDS
from shared.access_token import REVOCATION_RETENTION_SECONDS
from shared.status_list import LIST_BITS
from tests.support.session_bench import CONTEXT, LOGIN, SessionBench

pytestmark = pytest.mark.anyio

MACHINE_WITH_A_TOKEN = """
INSERT INTO clients (id, name, auth_method, secret_hash, scope, audiences, created_at, status_list_id, status_idx)
SELECT 'reports', 'reports', 'client_secret_basic', sha256('x'), '', '{gatepass}', now(), max(id), 9000
FROM status_lists
"""
MAIL_WITH_A_TOKEN = """
INSERT INTO one_time_tokens (token_hash, user_id, purpose, created_at, expires_at)
SELECT sha256('x'), id, 'reset', now(), now() + interval '1 hour' FROM users
"""


async def test_everything_that_was_issued_is_revoked(bench: SessionBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoke_all_store, "_PROPAGATION_SECONDS", 0.0)
    monkeypatch.setattr(revoke_all_store, "_BATCH", 2)
    account = await bench.account()
    for _ in range(5):
        await bench.sessions.create(account, LOGIN, CONTEXT)
    for statement in (MACHINE_WITH_A_TOKEN, MAIL_WITH_A_TOKEN):
        await bench.execute(statement)
    async with asyncio.timeout(20):
        before = await revoke_all(bench.database)
    (last,) = await bench.execute("SELECT max(at) AS at FROM audit_events WHERE kind <> 'everything_revoked'")
    assert before == Issued(5, 1, 1, last["at"])
    (event,) = await bench.execute("SELECT * FROM audit_events WHERE kind = 'everything_revoked'")
    assert await count_issued(bench.database) == Issued(0, 0, 0, event["at"])
    assert event["actor"] == "operator"
    assert json.loads(event["detail"]) == {"sessions": 5, "clients": 1, "one_time_tokens": 1}
    (session,) = await bench.execute("SELECT DISTINCT end_reason FROM sessions")
    assert session["end_reason"] == "revoked_by_operator"
    assert (await bench.execute("SELECT count(DISTINCT xmin::text) FROM sessions"))[0][0] == 3


async def test_tokens_of_the_closed_list_stay_revoked_until_the_last_has_expired(bench: SessionBench) -> None:
    await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)
    await revoke_all(bench.database)
    closed, new = await bench.execute("SELECT *, clock_timestamp() AS now FROM status_lists ORDER BY id")
    assert closed["next_idx"] == closed["size"]
    seconds = timedelta(seconds=REVOCATION_RETENTION_SECONDS)
    # A session can be refreshed until it is revoked, two seconds after its list was closed.
    last_issued_at = closed["all_revoked_until"] - seconds
    (session,) = await bench.execute("SELECT ended_at FROM sessions")
    assert session["ended_at"] < last_issued_at <= closed["now"]
    assert new["id"] > closed["id"] + 999
    assert (new["size"], new["next_idx"], new["all_revoked_until"]) == (LIST_BITS, 0, None)
    # A list is used 60 seconds after its creation: this one 10 seconds after the command.
    assert timedelta(seconds=40) < session["ended_at"] - new["created_at"] < timedelta(seconds=60)


async def test_a_session_that_an_issuer_adds_to_a_closed_list_is_revoked_too(bench: SessionBench) -> None:
    """Until its next poll, an issuer assigns the indices that it has leased."""
    account = await bench.account()
    await bench.sessions.create(account, LOGIN, CONTEXT)
    revoking = asyncio.create_task(revoke_all(bench.database))
    while not await bench.execute("SELECT FROM status_lists WHERE all_revoked_until IS NOT NULL"):
        pass
    await asyncio.sleep(POLL_SECONDS)
    await bench.sessions.create(account, LOGIN, CONTEXT)
    await revoking
    assert len(await bench.execute("SELECT FROM sessions WHERE ended_at IS NOT NULL")) == 2


async def test_a_client_that_gets_an_index_of_a_closed_list_loses_it(bench: SessionBench) -> None:
    """Otherwise its new tokens would be rejected until the list is open again."""
    await bench.sessions.create(await bench.account(), LOGIN, CONTEXT)
    await bench.execute(MACHINE_WITH_A_TOKEN)
    revoking = asyncio.create_task(revoke_all(bench.database))
    while not await bench.execute("SELECT FROM status_lists WHERE all_revoked_until IS NOT NULL"):
        pass
    await bench.execute("UPDATE clients SET status_list_id = 1, status_idx = 9001")
    await revoking
    assert await bench.execute("SELECT status_list_id, security_version FROM clients") == [(None, 2)]
