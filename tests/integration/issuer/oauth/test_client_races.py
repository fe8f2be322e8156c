"""A client that is changed during its request: no grant is based on the old values. On the real tables."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from issuer.context import OPERATOR, RequestContext
from issuer.db.pool import Database
from issuer.errors import ClientRegistrationError, InvalidClientError
from issuer.keys.watcher import KeyWatcher
from issuer.oauth.clients import FAILURES_RECORDED, ClientAuthenticator
from issuer.oauth.models import BasicCredentials, Client, ClientAssertion, ClientCredentials
from issuer.oauth.registry import ClientRegistry
from issuer.oauth.store import ClientStore
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.publisher import StatusListPublisher
from issuer.status_lists.store import StatusListStore
from issuer.telemetry.metrics import Metrics
from issuer.tokens.size import TokenBudget
from shared.access_token import REVOCATION_RETENTION_SECONDS
from shared.claims import StatusReference
from tests.support.machines import KEY, public_jwk
from tests.support.postgres import fetch, wait_until_blocked
from tests.unit.issuer.oauth.test_client_assertion import NOW, RSA_KEY, SECONDS, URL, claims, document, rsa_jwk, sign

pytestmark = pytest.mark.anyio


def assertion(client_id: str, key: Any = KEY, **changes: Any) -> ClientAssertion:
    """Return an assertion of a client with `public_jwk()`, valid at `NOW` unless changed."""
    return ClientAssertion(sign(claims(iss=client_id, sub=client_id, **changes), {"kid": "k1"}, key=key), None)


class Bench:
    """The use cases over the real tables, with a test clock."""

    def __init__(self, database: Database) -> None:
        self.now = NOW
        self.metrics = Metrics()
        self.database = database
        self.rows = ClientStore(database)
        lists = StatusListStore(database)
        publisher = StatusListPublisher(lists, KeyWatcher(Path("no keys"), self.metrics), self.metrics, URL)
        status_lists = StatusIndexAllocator(lists, URL, publisher)
        self.clients = ClientAuthenticator(self.rows, status_lists, frozenset({URL}), self.metrics, lambda: self.now)
        self.registry = ClientRegistry(TokenBudget(URL, "api"), self.rows, lambda: self.now, secrets.token_bytes)

    async def execute(self, statement: str, *arguments: object) -> list[Any]:
        """Run one statement directly; return its rows."""
        return await fetch(self.database, statement, *arguments)

    def authentications(self, outcome: str) -> float | None:
        """Return how many authentications had this outcome."""
        name = "gatepass_issuer_client_authentications_total"
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome})

    async def proven(self) -> tuple[Client, str]:
        made = await self.registry.create("a machine", None, "read", ["api"], None)
        assert made.secret is not None
        return await self.clients.authenticate(BasicCredentials(made.client.id, made.secret), OPERATOR), made.secret


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    database = Database(database_url, 10)
    try:
        yield Bench(database)
    finally:
        await database.close()


async def test_failed_client_authentication_cannot_fill_the_trail(bench: Bench) -> None:
    proofs: list[ClientCredentials] = [BasicCredentials("unknown-client", "guess"), ClientAssertion("a.b.c", None)]
    for seconds, attempts in ((0, FAILURES_RECORDED), (59, 10), (60, 5)):
        bench.now = NOW + timedelta(seconds=seconds)
        for number in range(attempts):
            with pytest.raises(InvalidClientError):
                await bench.clients.authenticate(proofs[number % 2], OPERATOR)
    assert (await bench.execute("SELECT count(*) FROM audit_events"))[0][0] == 300 + 5


CHANGES: dict[str, Callable[[ClientRegistry, str], Awaitable[Any]]] = {
    "disable": lambda registry, client_id: registry.disable(client_id),
    "renew": lambda registry, client_id: registry.rotate_secret(client_id),
    "narrow": lambda registry, client_id: registry.update(client_id, "", None, None),
    "change the audiences": lambda registry, client_id: registry.update(client_id, None, ["api", "other"], None),
    "delete": lambda registry, client_id: registry.delete(client_id),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_token_issued_during_a_change_of_its_client_is_revoked(bench: Bench, change: str) -> None:
    without_bit, _ = await bench.proven()
    await CHANGES[change](bench.registry, without_bit.id)
    with pytest.raises(InvalidClientError):
        await bench.clients.authorize(without_bit, None, None)

    fresh, secret = await bench.proven()
    await bench.clients.authorize(fresh, None, None)
    with_bit = await bench.clients.authenticate(BasicCredentials(fresh.id, secret), OPERATOR)
    assert with_bit.status is not None
    await CHANGES[change](bench.registry, fresh.id)
    late = await bench.clients.authorize(with_bit, None, None)
    assert late.status is not None
    assert late.status.idx == with_bit.status.idx
    assert len(await bench.execute("SELECT FROM revocations")) == 1


async def test_first_tokens_issued_during_a_disabling_are_revoked(bench: Bench) -> None:
    granted: set[Any] = set()
    for _ in range(30):
        client, _ = await bench.proven()
        grants = [bench.clients.authorize(client, None, None) for _ in range(6)]
        outcomes = await asyncio.gather(
            *grants[:3], bench.registry.disable(client.id), *grants[3:], return_exceptions=True
        )
        granted |= {outcome.status.idx for outcome in outcomes if hasattr(outcome, "status") and outcome.status}
        rows = await bench.rows.find_client(client.id)
        assert rows is not None
        assert rows.status is None
    revoked = {row["status_idx"] for row in await bench.execute("SELECT status_idx FROM revocations")}
    assert granted - {None} <= revoked


async def test_a_revocation_is_kept_until_the_last_token_has_expired(bench: Bench) -> None:
    context, later = RequestContext("client", "192.0.2.1", "a machine", "request-0001"), NOW + timedelta(seconds=10)

    async def with_token() -> tuple[Client, StatusReference]:
        made, secret = await bench.proven()
        token = await bench.clients.authorize(made, None, None)
        assert token.status is not None
        return await bench.clients.authenticate(BasicCredentials(made.id, secret), OPERATOR), token.status

    (own, status), (changed, _) = await with_token(), await with_token()
    await bench.clients.revoke_tokens(own, status, context)
    bench.now = later
    await bench.registry.disable(changed.id)
    rows = await bench.execute("SELECT expires_at FROM revocations ORDER BY expires_at")
    kept = timedelta(seconds=REVOCATION_RETENTION_SECONDS)
    assert [row["expires_at"] for row in rows] == [NOW + kept, later + kept]
    events = await bench.execute(
        "SELECT actor, host(address), request_id FROM audit_events WHERE kind = 'client_tokens_revoked'"
    )
    assert [tuple(event) for event in events] == [("client", "192.0.2.1", "request-0001")]


async def test_two_changes_of_a_client_at_once_both_hold(bench: Bench) -> None:
    """An operator disables the client while another one changes its scope."""
    client, _ = await bench.proven()
    async with bench.database.transaction() as connection:
        await connection.execute("SELECT FROM clients FOR UPDATE")
        disabling = asyncio.create_task(bench.registry.disable(client.id))
        await wait_until_blocked(bench.database, disabling)
        changing = asyncio.create_task(bench.registry.update(client.id, "write", None, None))
        await wait_until_blocked(bench.database, disabling, changing)
    await asyncio.gather(disabling, changing)
    changed = await bench.registry.find(client.id)
    assert (changed.disabled_at, changed.scope) == (NOW, "write")


async def test_an_assertion_of_a_client_that_is_being_deleted_is_rejected(bench: Bench) -> None:
    await bench.registry.create("keyed", "gone", "", ["api"], document(public_jwk()))
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM clients")
        attempt = asyncio.create_task(bench.clients.authenticate(assertion("gone"), OPERATOR))
        await wait_until_blocked(bench.database, attempt)
    with pytest.raises(InvalidClientError):
        await attempt


@pytest.mark.parametrize("change", ["disabled_at = now()", "security_version = security_version + 1"])
async def test_a_first_token_needs_the_client_as_it_authenticated(bench: Bench, change: str) -> None:
    client, _ = await bench.proven()
    await bench.execute(f"UPDATE clients SET {change}")
    with pytest.raises(InvalidClientError):
        await bench.clients.authorize(client, None, None)


async def test_an_assertion_expires_by_the_issuers_clock(bench: Bench) -> None:
    await bench.registry.create("keyed", "reports", "", ["api"], document(public_jwk()))
    proof = assertion("reports", exp=SECONDS + 3600)
    bench.now = NOW + timedelta(seconds=331)
    with pytest.raises(InvalidClientError):
        await bench.clients.authenticate(proof, OPERATOR)
    bench.now = NOW + timedelta(seconds=329)
    assert (await bench.clients.authenticate(proof, OPERATOR)).id == "reports"
    with pytest.raises(InvalidClientError):
        await bench.clients.authenticate(proof, OPERATOR)


async def test_a_client_id_is_registered_once(bench: Bench) -> None:
    made = await asyncio.gather(
        *(bench.registry.create("x", "twin", "", ["api"], None) for _ in range(8)), return_exceptions=True
    )
    faults = [str(outcome) for outcome in made if isinstance(outcome, ClientRegistrationError)]
    assert faults == 7 * ["twin: there is a client of this id already"]
    created = await bench.execute("SELECT count(*) FROM audit_events WHERE kind = 'client_created'")
    assert created[0][0] == 1


async def test_replaced_client_keys_apply_from_the_next_assertion(bench: Bench) -> None:
    async def is_accepted(key: Any, jti: str) -> bool:
        try:
            await bench.clients.authenticate(assertion("rotating", key, jti=jti), OPERATOR)
        except InvalidClientError:
            return False
        return True

    await bench.registry.create("keyed", "rotating", "", ["api"], document(public_jwk()))
    assert [await is_accepted(KEY, jti) for jti in ("a", "b")] == [True, True]
    await bench.registry.update("rotating", None, None, document(rsa_jwk(kid="k1")))
    assert [await is_accepted(KEY, "c"), await is_accepted(RSA_KEY, "d")] == [False, True]
    # The same id at the same time by the same clock, and so with the same version.
    await bench.registry.delete("rotating")
    await bench.registry.create("keyed", "rotating", "", ["api"], document(public_jwk()))
    assert [await is_accepted(RSA_KEY, "e"), await is_accepted(KEY, "f")] == [False, True]
