"""Sessions in PostgreSQL: rows in, frozen values out."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.audit import EndReason, Origin
from issuer.store.database import Connection
from issuer.store.queries import load_queries
from shared.access_token import REVOCATION_SECONDS

_SQL: Final = load_queries(Path(__file__).with_name("sessions.sql"))


async def end_sessions_of_user(
    connection: Connection,
    user_id: UUID,
    now: datetime,
    reason: EndReason,
    origin: Origin,
    spared: UUID | None = None,
) -> int:
    """End every live session of an account but `spared`, and revoke their access tokens; how many.

    Inside the caller's transaction, after the statement that changed the account.
    """
    rows = await connection.fetch(
        _SQL["end-sessions-of-user"],
        user_id,
        spared,
        now,
        reason,
        now + timedelta(seconds=REVOCATION_SECONDS),
        origin.actor,
        origin.address,
        origin.request_id,
    )
    return len(rows)
