"""A client whose tokens would be too long is rejected at registration, not when it requests a token."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from issuer.audit.events import AuditEvent
from issuer.errors import ClientRegistrationError
from issuer.oauth.models import Client
from issuer.oauth.registry import ClientRegistry
from issuer.oauth.store import ClientStore
from issuer.tokens.models import AccessTokenClaims
from issuer.tokens.size import TokenBudget

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUDGET: Final = TokenBudget("https://login.example.com/tenant", "gatepass", 1200)


class AcceptingStore(ClientStore):
    """A store that accepts every new client and keeps none."""

    def __init__(self) -> None:
        """Open no database."""

    async def insert_client(self, client: Client, event: AuditEvent) -> bool:
        return client.id == event.client_id


def register(client_id: str, scope: str, audience: str) -> Client:
    registry = ClientRegistry(BUDGET, AcceptingStore(), lambda: NOW, bytes)
    return asyncio.run(registry.create("x", client_id, scope, [audience, "z"], None)).client


@pytest.mark.parametrize(("client_id", "audience"), [("c", "a"), ("c" * 60, "a"), ("c", "a" * 100)])
def test_a_client_is_registered_if_its_longest_token_fits(client_id: str, audience: str) -> None:
    def fits(length: int) -> bool:
        return BUDGET.fault(AccessTokenClaims(client_id, None, None, client_id, "s" * length, audience)) is None

    longest = max(filter(fits, range(800)))
    assert register(client_id, "s" * longest, audience).id == client_id
    with pytest.raises(ClientRegistrationError, match=r"would have 120. bytes instead of 1200 at most"):
        register(client_id, "s" * (longest + 1), audience)


def test_additional_claims_count_for_the_length_of_a_token() -> None:
    registry = ClientRegistry(BUDGET, AcceptingStore(), lambda: NOW, bytes)

    def registered(tenant: str) -> Client:
        return asyncio.run(registry.create("x", "c", "", ["a"], None, claims={"tenant": tenant})).client

    assert registered("x").claims == {"tenant": "x"}
    with pytest.raises(ClientRegistrationError, match="bytes instead of 1200 at most"):
        registered("x" * 600)


def test_a_client_with_the_longest_names_is_registered() -> None:
    registry = ClientRegistry(
        TokenBudget("https://login.example.com", "gatepass"), AcceptingStore(), lambda: NOW, bytes
    )
    made = asyncio.run(registry.create("n" * 100, "i" * 64, "s", ["a"] * 15 + ["a" * 255], None)).client
    assert (made.name, made.id, made.audiences) == ("n" * 100, "i" * 64, ("a",) * 15 + ("a" * 255,))
    assert (made.scope, made.created_at, made.disabled_at) == ("s", NOW, None)


def test_a_client_that_names_no_id_gets_a_random_one() -> None:
    registry = ClientRegistry(BUDGET, AcceptingStore(), lambda: NOW, lambda size: bytes(range(size)))
    assert asyncio.run(registry.create("x", None, "", ["a"], None)).client.id == "client-000102030405"


def test_no_repr_shows_a_client_secret() -> None:
    registry = ClientRegistry(BUDGET, AcceptingStore(), lambda: NOW, bytes)
    made = asyncio.run(registry.create("x", None, "", ["a"], None))
    assert made.secret == "gpc_" + "A" * 43
    assert made.secret not in repr(made)
    assert repr(made.client.secret_hash) not in repr(made)


NAME: Final = "a name must have 1 to 100 characters and no control characters"
ID: Final = "an id must have 1 to 64 letters, digits, dots, hyphens and underscores"
TAKEN: Final = "an id must be neither first-party nor a UUID, which users have"
SCOPE: Final = "a scope must be words of visible ASCII with single spaces between them"
AUDIENCES: Final = "a client must have 1 to 16 audiences of 1 to 255 characters of visible ASCII"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": ""}, NAME),
        ({"name": "n" * 101}, NAME),
        ({"name": "a\nb"}, NAME),
        ({"name": "a\x1b[31m"}, NAME),
        ({"client_id": ""}, ID),
        ({"client_id": "i" * 65}, ID),
        ({"client_id": "a b"}, ID),
        ({"client_id": "é"}, ID),
        ({"client_id": "first-party"}, TAKEN),
        ({"client_id": "7f3b8a52-6e9d-4d1c-9d3b-0c8f4b8a2f11"}, TAKEN),
        ({"client_id": "7F3B8A526E9D4D1C9D3B0C8F4B8A2F11"}, TAKEN),
        ({"scope": "read  write"}, SCOPE),
        ({"scope": " read"}, SCOPE),
        ({"scope": 'a"b'}, SCOPE),
        ({"scope": "é"}, SCOPE),
        ({"audiences": []}, AUDIENCES),
        ({"audiences": [""]}, AUDIENCES),
        ({"audiences": ["a b"]}, AUDIENCES),
        ({"audiences": ["a" * 256]}, AUDIENCES),
        ({"audiences": ["a"] * 17}, AUDIENCES),
    ],
)
def test_an_ambiguous_client_is_not_registered(changes: dict[str, Any], fault: str) -> None:
    registry = ClientRegistry(BUDGET, AcceptingStore(), lambda: NOW, bytes)
    client = {"name": "x", "client_id": "x", "scope": "", "audiences": ["api"], "jwks": None} | changes
    with pytest.raises(ClientRegistrationError) as error:
        asyncio.run(registry.create(**client))
    assert str(error.value) == fault
