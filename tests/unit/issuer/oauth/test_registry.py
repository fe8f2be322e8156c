"""A client whose tokens would be too long is refused when it is registered, not when it asks."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from issuer.audit.events import AuditEvent
from issuer.errors import ClientRegistrationError
from issuer.keys.watcher import KeyWatcher
from issuer.oauth.models import Client
from issuer.oauth.registry import ClientRegistry
from issuer.oauth.store import ClientStore
from issuer.telemetry.metrics import Metrics
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import AccessTokenClaims, StatusReference
from shared.access_token import MAX_ISSUED_BYTES
from tests.support.signing_keys import generate_key

NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER: Final = "https://login.example.com/tenant"
ROOM: Final = 230 - 2 * len(ISSUER)


class AcceptingStore(ClientStore):
    """A store that accepts every new client and keeps none."""

    def __init__(self) -> None:
        """Need no database."""

    async def insert_client(self, client: Client, event: AuditEvent) -> bool:
        return client.id == event.client_id


def register(client_id: str, scope: str, audience: str) -> Client:
    registry = ClientRegistry(ISSUER, AcceptingStore(), lambda: NOW, bytes)
    return asyncio.run(registry.create("x", client_id, scope, [audience, "a"], None)).client


@pytest.mark.parametrize(
    ("client_id", "scope", "audience"),
    [
        ("c", "s" * (ROOM - 3), "a"),
        ("c" * 60, "s" * (ROOM - 121), "a"),
        ("c", "s " * 40 + "s", "a" * (ROOM - 83)),
    ],
)
def test_what_is_registered_can_be_minted_and_no_more_is_registered(
    tmp_path: Path, client_id: str, scope: str, audience: str
) -> None:
    generate_key(tmp_path, NOW)
    tokens = AccessTokens(
        KeyWatcher(tmp_path, Metrics()), ISSUER, "x", 600, lambda: NOW, lambda: UUID(int=0), lambda: 0.0
    )
    client = register(client_id, scope, audience)
    status = StatusReference(f"{ISSUER}/status-lists/999999", 1_048_575)
    grant = AccessTokenClaims(
        client.id, None, None, client.id, client.scope, audience=client.audiences[0], status=status
    )
    assert len(asyncio.run(tokens.mint(grant)).token) <= MAX_ISSUED_BYTES
    with pytest.raises(ClientRegistrationError, match="too long: shorten scope, audience or id by 1 characters"):
        register(client_id, scope + "s", audience)


def test_a_secret_is_not_in_the_repr_of_what_holds_it() -> None:
    registry = ClientRegistry(ISSUER, AcceptingStore(), lambda: NOW, bytes)
    made = asyncio.run(registry.create("x", None, "", ["a"], None))
    assert made.secret == "gpc_" + "A" * 43
    assert made.secret not in repr(made)
    assert repr(made.client.secret_hash) not in repr(made)
