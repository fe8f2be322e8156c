"""Sessions in PostgreSQL: rows in, frozen values out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - a store

from issuer.audit import store as audit
from issuer.audit.events import EndReason, Event, EventKind
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
from issuer.throttling.throttle import CounterIncrement
from issuer.tokens.refresh_token import RefreshToken
from shared.access_token import REVOCATION_SECONDS

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


async def end_sessions_of_user(
    connection: Connection,
    user_id: UUID,
    now: datetime,
    reason: EndReason,
    context: RequestContext,
    spared: UUID | None = None,
    newest: int = 0,
) -> int:
    """End the sessions of an account but `spared` and as many of the newest, with their access tokens; how many.

    Inside the caller's transaction, after the statement that changed the account.
    """
    rows = await connection.fetch(
        _SQL["end-sessions-of-user"],
        user_id,
        spared,
        now,
        reason,
        _all_dead(now),
        context.actor,
        context.ip_address,
        context.request_id,
        newest,
    )
    return sum(row["sessions"] for row in rows)


async def end_session(
    connection: Connection,
    session_id: UUID,
    user_id: UUID | None,
    now: datetime,
    reason: EndReason,
    context: RequestContext,
) -> bool:
    """End one session, of `user_id` if that is given, and revoke its access tokens; False if there is none to end."""
    ended = await connection.fetchval(
        _SQL["end-session"],
        session_id,
        user_id,
        now,
        reason,
        _all_dead(now),
        context.actor,
        context.ip_address,
        context.request_id,
    )
    return ended is not None


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
        """Add it and its event and clear the first of `counters`, unless the account has changed or has to wait."""
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
        assert row is not None  # the verdict
        if row["limited"]:
            return InsertResult.LIMITED
        if row["too_many"] is None:
            return InsertResult.REFUSED
        return InsertResult.BEYOND_LIMIT if row["too_many"] else InsertResult.YES

    async def rotate(
        self, presented: RefreshToken, client_id: str, now: datetime, idle_expires_at: datetime
    ) -> SessionState | None:
        """Compare and swap to the next generation."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                _SQL["rotate-session"], presented.session_id, presented.generation, client_id, now, idle_expires_at
            )
        return None if row is None else _state(row)

    async def find_state(self, session_id: UUID) -> SessionState | None:
        """The row as it is."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-session"], session_id)
        return None if row is None else _state(row)

    async def count_retry(self, presented: RefreshToken, now: datetime) -> bool:
        """Count one more retry with the previous token; False if the row has changed meanwhile."""
        async with self._database.connection() as connection:
            counted = await connection.fetchval(
                _SQL["count-retry"], presented.session_id, presented.generation, now, MAX_RETRIES
            )
        return counted is not None

    async def end_reused(self, presented: RefreshToken, now: datetime, context: RequestContext) -> bool:
        """End the session as stolen with its access tokens, unless it ended meanwhile."""
        async with self._database.connection() as connection:
            ended = await connection.fetch(
                _SQL["end-reused-session"],
                presented.session_id,
                presented.generation,
                now,
                _all_dead(now),
                context.actor,
                context.ip_address,
                context.request_id,
            )
        return bool(ended)

    async def record_future(self, state: SessionState, presented: RefreshToken, context: RequestContext) -> None:
        """Write down that a token knows more than the database."""
        ahead = presented.generation - state.generation
        event = Event(
            EventKind.REFRESH_FROM_THE_FUTURE,
            context,
            state.user_id,
            state.id,
            state.client_id,
            {"generations_ahead": ahead},
        )
        async with self._database.connection() as connection:
            await audit.record(connection, event)

    async def end(
        self, session_id: UUID, user_id: UUID, now: datetime, reason: EndReason, context: RequestContext
    ) -> bool:
        """End one session with its access tokens; False if it has ended or is not theirs."""
        async with self._database.connection() as connection:
            return await end_session(connection, session_id, user_id, now, reason, context)

    async def end_all(
        self,
        user_id: UUID,
        now: datetime,
        reason: EndReason,
        context: RequestContext,
        spared: UUID | None,
        newest: int = 0,
    ) -> int:
        """End an account's sessions but `spared` and as many of the newest, with their access tokens; how many."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock-account"], user_id)
            return await end_sessions_of_user(connection, user_id, now, reason, context, spared, newest)

    async def list_live(self, user_id: UUID, now: datetime, after: Position | None, limit: int) -> list[Session]:
        """The live sessions of an account that follow `after`, newest first."""
        created_at, session_id = (None, None) if after is None else (after.created_at, after.id)
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-live-sessions"], user_id, now, created_at, session_id, limit)
        return [Session(**row) for row in rows]


def _all_dead(now: datetime) -> datetime:
    """When the last access token that was minted until `now` is dead."""
    return now + timedelta(seconds=REVOCATION_SECONDS)


def _state(row: asyncpg.Record) -> SessionState:
    members = dict(row)
    index = StatusListEntry(members.pop("status_list_id"), members.pop("status_idx"))
    return SessionState(**members | {"roles": tuple(members["roles"])}, index=index)
