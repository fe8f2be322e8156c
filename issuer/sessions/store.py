"""The sessions in PostgreSQL."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - a store

from issuer.audit.events import AuditEvent, AuditEventKind, RevocationReason
from issuer.audit.store import record
from issuer.context import RequestContext
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries
from issuer.sessions.authorization import RefreshRequest
from issuer.sessions.models import (
    MAX_RETRIES,
    InsertResult,
    NewSession,
    Position,
    Session,
    SessionState,
    StoredAccount,
)
from issuer.status_lists.models import StatusListEntry
from issuer.throttling.login_limits import DELAYS
from issuer.throttling.models import CounterIncrement
from issuer.tokens.additional_claims import read_claims_column
from issuer.tokens.models import PublicClient
from issuer.tokens.refresh_token import RefreshToken
from shared.access_token import REVOCATION_RETENTION_SECONDS

_BATCH: Final = 1_000
_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


async def revoke_sessions_of_user(
    connection: Connection,
    user_id: UUID,
    now: datetime,
    reason: RevocationReason,
    context: RequestContext,
    except_session: UUID | None = None,
    newest: int = 0,
) -> int:
    """Revoke the sessions of an account except `except_session` and the `newest` newest ones; return how many.

    Call it inside a transaction, after the statement that changes the account.
    """
    rows = await connection.fetch(
        _SQL["revoke-sessions-of-user"],
        user_id,
        except_session,
        now,
        reason,
        _last_token_expiry(now),
        *context.audit_columns,
        newest,
    )
    return sum(row["sessions"] for row in rows)


async def revoke_session(
    connection: Connection,
    session_id: UUID,
    user_id: UUID | None,
    now: datetime,
    reason: RevocationReason,
    context: RequestContext,
) -> bool:
    """Revoke one session, of the account `user_id` if it is given; return False if there is none to revoke."""
    revoked = await connection.fetchval(
        _SQL["revoke-session"],
        session_id,
        user_id,
        now,
        reason,
        _last_token_expiry(now),
        *context.audit_columns,
    )
    return revoked is not None


async def revoke_sessions_of_client(
    database: Database, client_id: str, now: datetime, reason: RevocationReason, context: RequestContext
) -> None:
    """Revoke the sessions of a disabled client in batches. After an error, call it again."""
    revoked = _BATCH
    while revoked:
        async with database.connection() as connection:
            rows = await connection.fetch(
                _SQL["revoke-sessions-of-client"],
                client_id,
                now,
                reason,
                _last_token_expiry(now),
                *context.audit_columns,
                _BATCH,
            )
        revoked = len(rows)


class SessionStore:
    """The `sessions` table. Each method is one committed transaction.

    Args:
        client: the client of logins that name none.
    """

    def __init__(self, database: Database, client: PublicClient) -> None:
        self._database = database
        self._default_client = client

    async def insert_session(
        self,
        session: NewSession,
        index: StatusListEntry,
        account: StoredAccount,
        context: RequestContext,
        limit: int,
        counters: Sequence[CounterIncrement],
    ) -> InsertResult:
        """Insert a session with its event, and reset the first of `counters`.

        Insert nothing if a counter limits the login, or if account or client were disabled or changed since they
        were read.
        """
        async with self._database.connection() as connection:
            try:
                row = await connection.fetchrow(
                    _SQL["insert-session"],
                    session.id,
                    account.id,
                    account.security_version,
                    session.client_id,
                    session.scope,
                    session.created_at,
                    session.idle_expires_at,
                    session.expires_at,
                    index.list_id,
                    index.idx,
                    context.ip_address,
                    context.user_agent,
                    context.actor,
                    context.request_id,
                    limit - 1,
                    [counter.key for counter in counters],
                    [counter.free for counter in counters],
                    DELAYS,
                    session.scope_limited,
                    session.audiences,
                    session.client_version,
                )
            except asyncpg.UniqueViolationError:
                return InsertResult.INDEX_TAKEN
        assert row is not None  # the statement always returns one row
        if row["limited"]:
            return InsertResult.RATE_LIMITED
        if not row["client_known"]:
            return InsertResult.CLIENT_CHANGED
        if row["too_many"] is None:
            return InsertResult.ACCOUNT_CHANGED
        return InsertResult.BEYOND_LIMIT if row["too_many"] else InsertResult.INSERTED

    async def rotate(
        self, presented: RefreshToken, request: RefreshRequest, now: datetime, idle_expires_at: datetime
    ) -> SessionState | None:
        """Advance the session to the next generation and return it.

        Do nothing and return None unless `evaluate_refresh` returns ROTATE and `authorize_refresh` raises no error.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _SQL["rotate-session"],
                presented.session_id,
                presented.generation,
                request.client_id,
                now,
                idle_expires_at,
                request.scope and list(request.scope),
                request.audience,
                self._default_client.audiences[0],
            )
        return None if row is None else self._state(row)

    async def find_state(self, session_id: UUID) -> SessionState | None:
        """Return the session, live or not."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-session"], session_id)
        return None if row is None else self._state(row)

    async def count_retry(self, presented: RefreshToken, now: datetime) -> bool:
        """Count a retry with the previous token; return False if the row has changed since it was read."""
        async with self._database.connection() as connection:
            counted = await connection.fetchval(
                _SQL["count-retry"], presented.session_id, presented.generation, now, MAX_RETRIES
            )
        return counted is not None

    async def revoke_reused(self, presented: RefreshToken, now: datetime, context: RequestContext) -> bool:
        """Revoke a session whose refresh token was reused; return False if it was revoked already."""
        async with self._database.connection() as connection:
            revoked = await connection.fetch(
                _SQL["revoke-reused-session"],
                presented.session_id,
                presented.generation,
                now,
                _last_token_expiry(now),
                *context.audit_columns,
            )
        return bool(revoked)

    async def record_generation_ahead(
        self, state: SessionState, presented: RefreshToken, context: RequestContext
    ) -> None:
        """Record that a token has a higher generation than the database."""
        ahead = presented.generation - state.generation
        event = AuditEvent(
            AuditEventKind.REFRESH_GENERATION_AHEAD,
            context,
            state.user_id,
            state.id,
            state.client_id,
            {"generations_ahead": ahead},
        )
        async with self._database.connection() as connection:
            await record(connection, event)

    async def revoke(
        self, session_id: UUID, user_id: UUID | None, now: datetime, reason: RevocationReason, context: RequestContext
    ) -> bool:
        """Revoke one session, of the account `user_id` if it is given; return False if there is none to revoke."""
        async with self._database.connection() as connection:
            return await revoke_session(connection, session_id, user_id, now, reason, context)

    async def revoke_all(
        self,
        user_id: UUID,
        now: datetime,
        reason: RevocationReason,
        context: RequestContext,
        except_session: UUID | None,
        newest: int,
    ) -> int:
        """Revoke the sessions of an account except `except_session` and the `newest` newest ones; return how many."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock-account"], user_id)
            return await revoke_sessions_of_user(connection, user_id, now, reason, context, except_session, newest)

    async def list_live(self, user_id: UUID, now: datetime, after: Position | None, limit: int) -> list[Session]:
        """Return the live sessions of an account after `after`, newest first."""
        created_at, session_id = (None, None) if after is None else (after.created_at, after.id)
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-live-sessions"], user_id, now, created_at, session_id, limit)
        return [Session(**row) for row in rows]

    def _state(self, row: asyncpg.Record) -> SessionState:
        # Field by field, which is faster than `**row`: every refresh runs this.
        client_id, audiences = row["client_id"], row["audiences"]
        is_default = client_id == self._default_client.id
        client = self._default_client if is_default else _client(client_id, row["client"])
        return SessionState(
            id=row["id"],
            user_id=row["user_id"],
            client_id=client_id,
            generation=row["generation"],
            retries=row["retries"],
            retried_in_a_row=row["retried_in_a_row"],
            created_at=row["created_at"],
            rotated_ago=row["rotated_ago"],
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            disabled_at=row["disabled_at"],
            client=client,
            login_scope=row["login_scope"],
            scope_limited=row["scope_limited"],
            audiences=None if audiences is None else tuple(audiences),
            scope=row["scope"],
            roles=tuple(row["roles"]),
            claims=read_claims_column(row["claims"]),
            index=StatusListEntry(row["status_list_id"], row["status_idx"]),
        )


def _last_token_expiry(now: datetime) -> datetime:
    """Return when the last access token minted until `now` is invalid at every verifier."""
    return now + timedelta(seconds=REVOCATION_RETENTION_SECONDS)


def _client(client_id: str, document: str | None) -> PublicClient | None:
    if document is None:
        return None
    members = json.loads(document)
    scope = frozenset(members["scope"].split())
    return PublicClient(client_id, tuple(members["audiences"]), scope, claims=members["claims"])
