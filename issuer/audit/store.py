"""The audit trail in PostgreSQL. Triggers of the schema chain the rows and reject changes."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from issuer.audit.events import AuditEvent, AuditEventKind
from issuer.audit.hash_chain import ChainedEvent, ChainHead
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))
_PAGE: Final = 2000
_BEFORE_FIRST: Final = (-(2**15), 0)
"""Less than every chain and position: the column `chain` is a smallint."""


async def record(connection: Connection, event: AuditEvent) -> None:
    """Record `event` in the connection's transaction, as its last statement; see `store.sql`."""
    await connection.execute(
        _SQL["record-event"],
        event.kind,
        event.user_id,
        event.session_id,
        event.client_id,
        *event.context.audit_columns,
        json.dumps(dict(event.detail)),
    )


class AuditStore:
    """Reader of the audit trail."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self, user_id: UUID | None, kind: AuditEventKind | None, since: datetime | None, limit: int
    ) -> list[dict[str, Any]]:
        """Return the events that match, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-events"], user_id, kind, since, limit)
        return [{**row, "detail": json.loads(row["detail"])} for row in rows]

    async def chained_events(self) -> AsyncIterator[list[ChainedEvent]]:
        """Yield all events ordered by chain and position, in pages, so that memory use is bounded."""
        chain, position = _BEFORE_FIRST
        while page := await self._page(chain, position):
            yield page
            chain, position = page[-1].chain, page[-1].position

    async def heads(self) -> list[ChainHead]:
        """Return the last event of each chain."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-heads"])
        return [ChainHead(**row) for row in rows]

    async def _page(self, chain: int, position: int) -> list[ChainedEvent]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-chained-events"], chain, position, _PAGE)
        return [ChainedEvent(**row) for row in rows]
