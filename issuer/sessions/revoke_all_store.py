"""Revokes all sessions and tokens that were issued so far, after a restore from a backup. ADR 0099."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from issuer.audit.events import AuditEvent, AuditEventKind
from issuer.audit.store import record
from issuer.context import OPERATOR
from issuer.db.pool import Database
from issuer.db.queries import load_queries
from issuer.status_lists.store import PUBLISH_SECONDS
from shared.access_token import REVOCATION_RETENTION_SECONDS
from shared.status_list import LIST_BITS

LOGIN_AFTER_SECONDS: Final = 10
"""Time in which no token may refer to the new list: issuers publish it within 1 s, verifiers poll every 2 s."""

_PROPAGATION_SECONDS: Final = 2.0
"""After this time every running issuer has read that the lists are closed, and assigns no index of them."""

_BATCH: Final = 5_000
_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


@dataclass(frozen=True, slots=True)
class Issued:
    """Numbers of live items, and the time of the last audit event, which shows the age of the restored database."""

    sessions: int
    clients: int
    one_time_tokens: int
    last_event_at: datetime | None


async def count_issued(database: Database) -> Issued:
    """Count what `revoke_all` would revoke."""
    async with database.connection() as connection:
        row = await connection.fetchrow(_SQL["count-issued"])
    assert row is not None
    return Issued(**row)


async def revoke_all(database: Database) -> Issued:
    """Revoke every session, access token, client token and one-time token that was issued until now.

    Access tokens are revoked first, including those that this database does not know. After an error, call it again.

    Raises:
        DatabaseUnavailableError: the database is unavailable; some of them may be revoked.
    """
    issued, retention = await count_issued(database), timedelta(seconds=REVOCATION_RETENTION_SECONDS)
    async with database.transaction() as connection:
        await connection.execute(_SQL["lock-extension"])
        await connection.execute(_SQL["close-lists"], retention)
        await connection.execute(_SQL["skip-list-ids"])
        await connection.execute(_SQL["add-list"], LIST_BITS, PUBLISH_SECONDS - LOGIN_AFTER_SECONDS)
        await connection.execute(_SQL["detach-client-indices"])
        await connection.execute(_SQL["delete-one-time-tokens"])
        detail = {
            "sessions": issued.sessions,
            "clients": issued.clients,
            "one_time_tokens": issued.one_time_tokens,
        }
        await record(connection, AuditEvent(AuditEventKind.EVERYTHING_REVOKED, OPERATOR, detail=detail))
    await asyncio.sleep(_PROPAGATION_SECONDS)
    async with database.connection() as connection:
        # Again, since an issuer assigns indices of closed lists until its next poll.
        await connection.execute(_SQL["detach-client-indices"])
    while await _revoke_batch(database):
        pass
    async with database.connection() as connection:
        await connection.execute(_SQL["extend-closures"], retention)
    return issued


async def _revoke_batch(database: Database) -> bool:
    async with database.connection() as connection:
        tag: str = await connection.execute(_SQL["revoke-sessions"], _BATCH)
    return tag != "UPDATE 0"
