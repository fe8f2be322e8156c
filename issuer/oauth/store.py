"""The clients in PostgreSQL."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg  # noqa: TID251 - a store

from issuer.audit.events import AuditEvent, RevocationReason
from issuer.audit.store import record
from issuer.context import RequestContext
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries
from issuer.oauth.models import CLIENT_ID, AuthMethod, Client
from issuer.sessions.store import revoke_sessions_of_client
from issuer.status_lists.models import StatusListEntry
from issuer.tokens.additional_claims import NO_CLAIMS, ClaimValues, read_claims_column
from shared.access_token import REVOCATION_RETENTION_SECONDS

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


class ClientStore:
    """The tables `clients` and `client_assertions`. Each method is one committed transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_client(self, client_id: str) -> Client | None:
        """Return the client with this id. A malformed id is not looked up: PostgreSQL rejects U+0000, for example."""
        if not CLIENT_ID.fullmatch(client_id):
            return None
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-client"], client_id)
        return None if row is None else _client(row)

    async def list_clients(self) -> list[Client]:
        """Return all clients, the oldest first."""
        async with self._database.connection() as connection:
            return [_client(row) for row in await connection.fetch(_SQL["list-clients"])]

    async def record_assertion(self, client_id: str, jti_hash: bytes, expires_at: datetime) -> bool:
        """Record an assertion as used; return False if it was used already."""
        async with self._database.connection() as connection:
            used = await connection.fetchval(_SQL["record-assertion"], client_id, jti_hash, expires_at)
        return used is not None

    async def assign_status(self, client: Client, status: StatusListEntry) -> StatusListEntry | None:
        """Return the index of the client, or `status` if it had none; None if the client has changed."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _SQL["assign-status"], client.id, client.security_version, status.list_id, status.idx
            )
        return None if row is None else StatusListEntry(row["status_list_id"], row["status_idx"])

    async def revoke_status(
        self, client: Client, status: StatusListEntry, now: datetime, context: RequestContext
    ) -> None:
        """Revoke the index, detach it from the client and record an event, unless the client has another one now."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SQL["revoke-status"],
                client.id,
                status.list_id,
                status.idx,
                now + timedelta(seconds=REVOCATION_RETENTION_SECONDS),
                *context.audit_columns,
            )

    async def record_failure(self, event: AuditEvent) -> None:
        """Record the event of a failed authentication."""
        async with self._database.transaction() as connection:
            await record(connection, event)

    async def insert_client(self, client: Client, event: AuditEvent) -> bool:
        """Insert a client with its event; return False if the id is taken."""
        async with self._database.transaction() as connection:
            inserted = await connection.fetchval(
                _SQL["insert-client"],
                client.id,
                client.name,
                client.auth_method,
                client.secret_hash,
                _document(client),
                client.scope,
                list(client.audiences),
                client.created_at,
                json.dumps(dict(client.claims)),
            )
            if inserted is not None:
                await record(connection, event)
        return inserted is not None

    async def change_client(
        self, client_id: str, change: Callable[[Client], Client | None], event: AuditEvent, now: datetime
    ) -> Client | None:
        """Change a client and revoke its tokens. Return the previous state; None if there is no such client.

        `change` returns the new state, or None to delete the client. It is called while the row is locked.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["lock-client"], client_id)
            if row is None:
                return None
            before = _client(row)
            after = change(before)
            if after is None:
                await connection.execute(_SQL["delete-client"], client_id)
            else:
                await connection.execute(
                    _SQL["update-client"],
                    client_id,
                    after.secret_hash,
                    _document(after),
                    after.scope,
                    list(after.audiences),
                    after.disabled_at,
                    json.dumps(dict(after.claims)),
                )
            await _revoke_tokens(connection, before, now)
            await record(connection, event)
        return before

    async def find_largest_account(self, client: Client) -> tuple[str, tuple[str, ...], ClaimValues]:
        """Return scope, roles and claims of the account whose tokens for this client are the longest."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _SQL["find-largest-account"], client.scope.split(), json.dumps(dict(client.claims))
            )
        if row is None:
            return "", (), NO_CLAIMS
        return row["scope"], tuple(row["roles"]), read_claims_column(row["claims"])

    async def revoke_sessions(
        self, client_id: str, now: datetime, reason: RevocationReason, context: RequestContext
    ) -> None:
        """Revoke the sessions of a client that is disabled."""
        await revoke_sessions_of_client(self._database, client_id, now, reason, context)


async def _revoke_tokens(connection: Connection, client: Client, now: datetime) -> None:
    if client.status is not None:
        expires_at = now + timedelta(seconds=REVOCATION_RETENTION_SECONDS)
        await connection.execute(_SQL["revoke-index"], client.status.list_id, client.status.idx, expires_at)


def _document(client: Client) -> str | None:
    return None if client.jwks is None else json.dumps(client.jwks)


def _client(row: asyncpg.Record) -> Client:
    # Field by field, which is faster than `**row`: every token request of a client runs this.
    return Client(
        id=row["id"],
        name=row["name"],
        auth_method=AuthMethod(row["auth_method"]),
        scope=row["scope"],
        audiences=tuple(row["audiences"]),
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        secret_hash=row["secret_hash"],
        jwks=None if row["jwks"] is None else tuple(json.loads(row["jwks"])),
        status=None if row["status_list_id"] is None else StatusListEntry(row["status_list_id"], row["status_idx"]),
        security_version=row["security_version"],
        claims=read_claims_column(row["claims"]),
    )
