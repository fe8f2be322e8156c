"""The audit trail in PostgreSQL. Rows are chained and kept from change by triggers of the schema."""

import json
from pathlib import Path
from typing import Final

from issuer.audit import Event
from issuer.store.database import Connection
from issuer.store.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_name("audit.sql"))


async def record(connection: Connection, event: Event) -> None:
    """Write `event` as part of the connection's transaction: last, see `audit.sql`."""
    await connection.execute(
        _SQL["record-event"],
        event.kind,
        event.user_id,
        event.session_id,
        event.client_id,
        event.origin.actor,
        event.origin.address,
        event.origin.request_id,
        json.dumps(dict(event.detail)),
    )
