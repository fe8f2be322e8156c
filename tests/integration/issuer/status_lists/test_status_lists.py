"""Status lists over HTTP and from a real PostgreSQL."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from issuer.audit.events import RevocationReason
from issuer.db.queries import load_queries
from issuer.status_lists import store
from issuer.status_lists.models import LEASE_SIZE
from shared.access_token import REVOCATION_RETENTION_SECONDS
from shared.jwks import parse_jwks
from shared.status_list import LIST_BITS, decode
from tests.support.accounts import add_account, add_sessions
from tests.support.issuer_process import IssuerProcess
from tests.support.plain_http import HTTP
from tests.support.postgres import execute, wait_until_blocked
from tests.support.processes import wait_until
from tests.support.session_bench import CONTEXT, LOGIN, SessionBench, bench

__all__ = ["bench"]

pytestmark = pytest.mark.anyio

POLL = load_queries(Path(store.__file__).with_suffix(".sql"))["list-states"]


def uri(issuer: IssuerProcess) -> str:
    found: str = HTTP.get(f"{issuer.url}/status-lists").json()["status_lists"][0]
    return found


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan of PostgreSQL."""
    yield plan
    for node in plan.get("Plans", ()):
        yield from plan_nodes(node)


def test_the_lists_are_published_before_the_first_login(issuer: IssuerProcess) -> None:
    response = HTTP.get(f"{issuer.url}/status-lists")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status_lists": [f"{issuer.url}/status-lists/1"]}


def test_a_list_verifies_under_the_published_keys(issuer: IssuerProcess) -> None:
    response = HTTP.get(uri(issuer))
    assert response.headers["content-type"] == "application/statuslist+jwt"
    assert response.headers["cache-control"] == "public, max-age=1"
    header = jwt.get_unverified_header(response.text)
    assert header["typ"] == "statuslist+jwt"
    key = parse_jwks(HTTP.get(f"{issuer.url}/.well-known/jwks.json").content).keys[header["kid"]].rsa
    claims = jwt.decode(response.text, key, ["RS256"], issuer=issuer.url)  # noqa: TID251 - the reference
    assert claims["sub"] == uri(issuer)
    assert len(decode(claims["status_list"]["lst"])) == LIST_BITS // 8


def test_an_unchanged_list_is_a_304(issuer: IssuerProcess) -> None:
    for path in (f"{issuer.url}/status-lists", uri(issuer)):
        etag = HTTP.get(path).headers["etag"]
        response = HTTP.get(path, headers={"If-None-Match": etag})
        assert (response.status_code, response.content) == (304, b"")
        assert HTTP.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["0", "2", "01", "x", "-1", "1e0", "9" * 30, "%D9%A1"])
def test_an_unknown_list_is_a_404(issuer: IssuerProcess, name: str) -> None:
    assert HTTP.get(f"{issuer.url}/status-lists/{name}").status_code == 404


def test_a_revocation_by_another_process_is_published(issuer: IssuerProcess) -> None:
    etag = HTTP.get(uri(issuer)).headers["etag"]
    execute(
        issuer.database_url,
        "INSERT INTO revocations (status_list_id, status_idx, expires_at) VALUES (1, 77, now() + interval '1 hour')",
    )
    wait_until(lambda: issuer.bit(uri(issuer), 77), "it happens", 20)
    assert HTTP.get(uri(issuer), headers={"If-None-Match": etag}).status_code == 200
    assert issuer.metric("gatepass_issuer_status_list_bytes") > 900
    assert issuer.metric("gatepass_issuer_status_list_build_seconds_count") >= 2
    assert abs(issuer.metric("gatepass_issuer_status_lists_read_timestamp_seconds") - time.time()) < 20


@pytest.mark.parametrize("path", ["/status-lists", "/status-lists/1", "/.well-known/jwks.json", "/openapi.json"])
def test_public_documents_are_counted_and_not_logged(issuer: IssuerProcess, path: str) -> None:
    whole = HTTP.get(issuer.url + path)
    unchanged = HTTP.get(issuer.url + path, headers={"If-None-Match": whole.headers["etag"]})
    assert [response.status_code for response in (whole, unchanged)] == [200, 304]
    barrier = issuer.register(f"{path.count('/')}{len(path)}@example.com")
    wait_until(lambda: barrier.headers["x-request-id"] in issuer.log(), "a later request is logged")
    assert all(response.headers["x-request-id"] not in issuer.log() for response in (whole, unchanged))
    counted = issuer.admin("/metrics").text
    assert f'route="{path.replace("/1", "/{id}")}",status="200"' in counted


async def pass_time(bench: SessionBench, seconds: int) -> None:
    """Make all bits older, because the publication uses the clock of the database."""
    await bench.execute("UPDATE revocations SET expires_at = expires_at - make_interval(secs => $1)", seconds)


async def bits(bench: SessionBench) -> set[int]:
    return set(await bench.lists.revoked_indices(1))


async def fingerprint(bench: SessionBench) -> str:
    return (await bench.lists.list_states())[0].fingerprint


async def known(bench: SessionBench) -> list[int]:
    return [state.list_id for state in await bench.lists.list_states()]


async def test_an_index_is_kept_until_its_last_access_token_has_expired(bench: SessionBench) -> None:
    account = await bench.account()
    await bench.sessions.create(account, LOGIN, CONTEXT)
    before = await fingerprint(bench)
    await bench.sessions.revoke_all(account.id, RevocationReason.REVOKED_BY_OPERATOR, CONTEXT)
    assert await bits(bench) == {0}
    flagged = await fingerprint(bench)
    await pass_time(bench, REVOCATION_RETENTION_SECONDS - 60)
    assert await bits(bench) == {0}
    await pass_time(bench, 60)
    assert await bits(bench) == set()
    assert before == await fingerprint(bench) != flagged


async def test_a_late_commit_changes_the_fingerprint(bench: SessionBench) -> None:
    """The newest time would not change, because the late row is older than one that was read before."""
    insert = "INSERT INTO revocations (status_list_id, status_idx, expires_at) VALUES (1, $1, 'infinity')"
    await bench.lists.extend()
    async with bench.database.transaction() as slow:
        await slow.execute(insert, 1)
        await bench.execute(insert, 2)
        before = await fingerprint(bench)
    assert await fingerprint(bench) != before


async def test_other_revocations_with_the_same_sum_change_the_fingerprint(bench: SessionBench) -> None:
    """Between two reads, some revocations expire and others are added."""
    insert = (
        "INSERT INTO revocations (status_list_id, status_idx, expires_at) SELECT 1, unnest($1::int[]), 'infinity'"
    )
    seen = set()
    await bench.lists.extend()
    for indices in ([1, 4], [2, 3]):
        await bench.execute("DELETE FROM revocations")
        await bench.execute(insert, indices)
        seen.add(await fingerprint(bench))
    assert len(seen) == 2


async def test_the_last_range_of_a_list_is_leased_once(bench: SessionBench) -> None:
    """Verifiers reject an index beyond the end of its list."""
    await bench.lists.extend()
    await bench.execute("UPDATE status_lists SET next_idx = size - 256")
    async with bench.database.transaction() as connection:
        await connection.execute("SELECT FROM status_lists FOR UPDATE")
        leases = [asyncio.ensure_future(bench.lists.lease(256)) for _ in range(2)]
        await wait_until_blocked(bench.database, *leases)
    assert sum(lease is not None for lease in await asyncio.gather(*leases)) == 1


async def test_a_full_list_is_published_while_valid_tokens_refer_to_it(bench: SessionBench) -> None:
    account = await bench.account()
    tokens = await bench.sessions.create(account, LOGIN, CONTEXT)
    await bench.execute("UPDATE status_lists SET next_idx = size")
    await bench.lists.extend()
    assert await known(bench) == [1, 2]
    session = bench.sessions.read_refresh_token(tokens.refresh_token)
    assert session is not None
    await bench.sessions.revoke(session.session_id, account.id, RevocationReason.LOGOUT, CONTEXT)
    await pass_time(bench, REVOCATION_RETENTION_SECONDS - 60)
    assert await known(bench) == [1, 2]
    await pass_time(bench, 60)
    assert await known(bench) == [2]


async def test_a_full_list_is_published_while_a_client_has_an_index_in_it(bench: SessionBench) -> None:
    """The client gets tokens with this index until it is changed."""
    await bench.lists.extend()
    await bench.execute("""
        INSERT INTO clients (id, name, auth_method, secret_hash, audiences, created_at, status_list_id, status_idx)
        VALUES ('reports', 'reports', 'client_secret_basic', sha256('x'), '{gatepass}', now(), 1, 9)
    """)
    await bench.execute("UPDATE status_lists SET next_idx = size")
    await bench.lists.extend()
    assert await known(bench) == [1, 2]


@pytest.mark.parametrize("analyzed", [True, False])
def test_a_poll_reads_few_sessions_however_many_lists_are_used_up(database_url: str, *, analyzed: bool) -> None:
    """Also without statistics of the tables, such as after a restore."""
    execute(database_url, "ALTER TABLE sessions SET (autovacuum_enabled = false)")
    execute(
        database_url,
        "INSERT INTO status_lists (size, next_idx, created_at)"
        " SELECT 8192, CASE WHEN n < 10 THEN 8192 ELSE 0 END, now() FROM generate_series(1, 10) n",
    )
    add_sessions(database_url, add_account(database_url), 30_000)
    execute(database_url, "UPDATE sessions SET status_list_id = 9")
    if analyzed:
        execute(database_url, "ANALYZE")
    retention = timedelta(seconds=REVOCATION_RETENTION_SECONDS)
    assert [row["list_id"] for row in execute(database_url, POLL, LEASE_SIZE, retention)] == [9, 10]
    explained = execute(database_url, f"EXPLAIN (ANALYZE, FORMAT JSON) {POLL}", LEASE_SIZE, retention)[0][0]
    read = [
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in plan_nodes(json.loads(explained)[0]["Plan"])
        if node.get("Relation Name") == "sessions"
    ]
    assert read
    assert sum(read) < 10
