"""The audit trail in PostgreSQL. Rows are chained and kept from change by triggers of the schema."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from issuer.audit.events import Event, EventKind
from issuer.audit.hash_chain import Head, Link
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))
_PAGE: Final = 2000
_BEFORE_ALL: Final = (-(2**15), 0)


async def record(connection: Connection, event: Event) -> None:
    """Write `event` as part of the connection's transaction: last, see `audit.sql`."""
    await connection.execute(
        _SQL["record-event"],
        event.kind,
        event.user_id,
        event.session_id,
        event.client_id,
        event.context.actor,
        event.context.ip_address,
        event.context.request_id,
        json.dumps(dict(event.detail)),
    )


class AuditTrail:
    """Reads what was recorded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self, user_id: UUID | None, kind: EventKind | None, since: datetime | None, limit: int
    ) -> list[dict[str, Any]]:
        """The newest events that fit, newest first, as they are to be shown."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-events"], user_id, kind, since, limit)
        return [{**row, "detail": json.loads(row["detail"])} for row in rows]

    async def links(self) -> AsyncIterator[list[Link]]:
        """Every event as a link of its chain, in order, page by page: memory does not grow with the trail."""
        chain, position = _BEFORE_ALL
        while page := await self._page(chain, position):
            yield page
            chain, position = page[-1].chain, page[-1].position

    async def heads(self) -> list[Head]:
        """The last event of each chain."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-heads"])
        return [Head(**row) for row in rows]

    async def _page(self, chain: int, position: int) -> list[Link]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-links"], chain, position, _PAGE)
        return [Link(**row) for row in rows]
