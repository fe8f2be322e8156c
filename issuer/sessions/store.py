"""The sessions in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - a store

from issuer.audit import store as audit
from issuer.audit.events import AuditEvent, AuditEventKind, RevocationReason
from issuer.context import RequestContext
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries
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
from issuer.tokens.refresh_token import RefreshToken
from shared.access_token import REVOCATION_SECONDS

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


async def revoke_sessions_of_user(
    connection: Connection,
    user_id: UUID,
    now: datetime,
    reason: RevocationReason,
    context: RequestContext,
    kept: UUID | None = None,
    newest: int = 0,
) -> int:
    """Revoke the sessions of an account except `kept` and the `newest` newest ones; return how many.

    Call it inside a transaction, after the statement that changes the account.
    """
    rows = await connection.fetch(
        _SQL["revoke-sessions-of-user"],
        user_id,
        kept,
        now,
        reason,
        _last_token_expiry(now),
        context.actor,
        context.ip_address,
        context.request_id,
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
    """Revoke one session, of `user_id` if that is given; return False if there is no such live session."""
    revoked = await connection.fetchval(
        _SQL["revoke-session"],
        session_id,
        user_id,
        now,
        reason,
        _last_token_expiry(now),
        context.actor,
        context.ip_address,
        context.request_id,
    )
    return revoked is not None


class SessionStore:
    """The `sessions` table. Each method is one committed transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_session(
        self,
        session: NewSession,
        account: StoredAccount,
        context: RequestContext,
        limit: int,
        counters: Sequence[CounterIncrement],
    ) -> InsertResult:
        """Insert a session with its event, and reset the first of `counters`.

        Insert nothing if a counter limits the login, or if the account was disabled or changed since it was read.
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
                    session.index.list_id,
                    session.index.idx,
                    context.ip_address,
                    context.user_agent,
                    context.actor,
                    context.request_id,
                    limit - 1,
                    [counter.key for counter in counters],
                    [counter.free for counter in counters],
                    DELAYS,
                )
            except asyncpg.UniqueViolationError:
                return InsertResult.INDEX_TAKEN
        assert row is not None  # the statement always returns one row
        if row["limited"]:
            return InsertResult.RATE_LIMITED
        if row["too_many"] is None:
            return InsertResult.ACCOUNT_CHANGED
        return InsertResult.BEYOND_LIMIT if row["too_many"] else InsertResult.INSERTED

    async def rotate(
        self, presented: RefreshToken, client_id: str, now: datetime, idle_expires_at: datetime
    ) -> SessionState | None:
        """Advance to the next generation; return None, unchanged, unless `evaluate_refresh` would return ROTATE."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _SQL["rotate-session"], presented.session_id, presented.generation, client_id, now, idle_expires_at
            )
        return None if row is None else _state(row)

    async def find_state(self, session_id: UUID) -> SessionState | None:
        """Return the session, live or not."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-session"], session_id)
        return None if row is None else _state(row)

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
                context.actor,
                context.ip_address,
                context.request_id,
            )
        return bool(revoked)

    async def record_generation_ahead(
        self, state: SessionState, presented: RefreshToken, context: RequestContext
    ) -> None:
        """Record that a token has a higher generation than the database."""
        ahead = presented.generation - state.generation
        event = AuditEvent(
            AuditEventKind.REFRESH_FROM_THE_FUTURE,
            context,
            state.user_id,
            state.id,
            state.client_id,
            {"generations_ahead": ahead},
        )
        async with self._database.connection() as connection:
            await audit.record(connection, event)

    async def revoke(
        self, session_id: UUID, user_id: UUID, now: datetime, reason: RevocationReason, context: RequestContext
    ) -> bool:
        """Revoke one session of an account; return False if there is no such live session."""
        async with self._database.connection() as connection:
            return await revoke_session(connection, session_id, user_id, now, reason, context)

    async def revoke_all(
        self,
        user_id: UUID,
        now: datetime,
        reason: RevocationReason,
        context: RequestContext,
        kept: UUID | None,
        newest: int = 0,
    ) -> int:
        """Revoke the sessions of an account except `kept` and the `newest` newest ones; return how many."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock-account"], user_id)
            return await revoke_sessions_of_user(connection, user_id, now, reason, context, kept, newest)

    async def list_live(self, user_id: UUID, now: datetime, after: Position | None, limit: int) -> list[Session]:
        """Return the live sessions of an account after `after`, newest first."""
        created_at, session_id = (None, None) if after is None else (after.created_at, after.id)
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-live-sessions"], user_id, now, created_at, session_id, limit)
        return [Session(**row) for row in rows]


def _last_token_expiry(now: datetime) -> datetime:
    """Return when the last access token minted until `now` is invalid at every verifier."""
    return now + timedelta(seconds=REVOCATION_SECONDS)


def _state(row: asyncpg.Record) -> SessionState:
    members = dict(row)
    index = StatusListEntry(members.pop("status_list_id"), members.pop("status_idx"))
    return SessionState(**members | {"roles": tuple(members["roles"])}, index=index)
