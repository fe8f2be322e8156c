"""An operator's change of a client is stored, audited and effective in the next token (real PostgreSQL)."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from issuer.accounts.models import Account
from issuer.accounts.store import AccountStore
from issuer.context import OPERATOR
from issuer.errors import ClientRegistrationError
from issuer.oauth.models import Client
from issuer.tokens.models import PublicClient
from issuer.tokens.size import TokenBudget
from tests.integration.issuer.oauth.test_client_races import Bench, bench
from tests.support.machines import public_jwk
from tests.unit.issuer.oauth.test_client_assertion import NOW, URL, document, rsa_jwk

__all__ = ["bench"]
pytestmark = pytest.mark.anyio


async def add_account(bench: Bench, **values: str) -> None:
    account = Account(uuid4(), f"{uuid4().hex}@example.com", NOW)
    await AccountStore(bench.database).insert_account(account, account.email, "h" * 40, OPERATOR)
    for column, value in values.items():
        await bench.execute(f"UPDATE users SET {column} = $2 WHERE id = $1", account.id, value)


async def test_a_change_of_keys_or_claims_is_stored_and_audited(bench: Bench) -> None:
    keys = document(public_jwk())
    await bench.registry.create("x", "keyed", "read", ["api"], keys, claims={"tenant": "a", "beta": True})
    updated = await bench.registry.update("keyed", None, None, document(rsa_jwk()), {"tenant": "b", "beta": None})
    assert (updated.scope, updated.audiences, updated.claims) == ("read", ("api",), {"tenant": "b"})
    assert [key["kid"] for key in updated.jwks or ()] == ["rsa"]
    await bench.registry.update("keyed", "write", None, None)
    found = await bench.registry.find("keyed")
    assert (found.scope, found.claims, found.jwks) == ("write", updated.claims, updated.jwks)
    events = await bench.execute("SELECT detail FROM audit_events WHERE kind = 'client_updated' ORDER BY at")
    assert [json.loads(event["detail"]) for event in events] == [{"keys": True, "claims": True}, {"scope": True}]


async def test_a_machines_token_has_its_claims(bench: Bench) -> None:
    made = await bench.registry.create("x", None, "", ["api"], None, claims={"tenant": "a"})
    assert (await bench.clients.authorize(made.client, None, None)).additional == {"tenant": "a"}


async def test_a_public_client_is_measured_with_the_token_of_a_new_account(bench: Bench) -> None:
    def client(length: int) -> PublicClient:
        return PublicClient("shop", ("api",), frozenset({"profile"}), 0, {"tenant": "x" * length})

    async def register(length: int) -> Client:
        claims = {"tenant": "x" * length}
        made = await bench.registry.create("x", "shop", "profile", ["api"], None, public=True, claims=claims)
        return made.client

    budget = TokenBudget(URL, "api")
    longest = max(length for length in range(1500) if budget.client_fault(client(length), "profile", ()) is None)
    with pytest.raises(ClientRegistrationError, match=r"^for the client shop, .* bytes instead of 2048 at most"):
        await register(longest + 1)
    assert (await register(longest)).as_public() == client(longest)


async def test_a_public_client_is_measured_with_the_claims_of_accounts(bench: Bench) -> None:
    await add_account(bench, claims=json.dumps({"tenant": "x" * 1500}))
    with pytest.raises(ClientRegistrationError, match=r"^for the client shop, .* bytes instead of 2048 at most"):
        await bench.registry.create("x", "shop", "", ["api"], None, public=True)


async def test_an_id_that_postgresql_cannot_read_is_no_clients(bench: Bench) -> None:
    for client_id in ("a\0b", "\udcff"):
        with pytest.raises(ClientRegistrationError, match="there is no such client"):
            await bench.registry.find(client_id)
        assert await bench.clients.find(client_id) is None


async def test_the_account_with_the_longest_token_for_a_client_is_found(bench: Bench) -> None:
    async def longest(scope: str, claims: dict[str, Any]) -> Any:
        return await bench.rows.find_largest_account(replace(client, scope=scope, claims=claims))

    client = (await bench.registry.create("x", None, "", ["api"], None, public=True)).client
    assert await longest("read", {}) == ("", (), {})
    await add_account(bench, scope="s" * 100)
    await add_account(bench, claims='{"tenant": "x"}')
    assert await longest("read", {}) == ("profile", (), {"tenant": "x"})
    assert await longest("s" * 100, {}) == ("s" * 100, (), {})
    # The account's own value takes the place of the client's.
    assert await longest("read", {"tenant": "y" * 50}) == ("s" * 100, (), {})
