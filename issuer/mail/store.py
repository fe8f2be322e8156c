"""The outbox in PostgreSQL."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.audit.events import AuditEventKind
from issuer.db.pool import Database
from issuer.db.queries import load_queries
from issuer.mail.templates import Template
from issuer.tokens.one_time_token import LIFETIMES, MAX_VALID, OneTimeToken

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A row of the outbox. Its repr omits the email address."""

    id: int
    user_id: UUID
    email: str = field(repr=False)
    template: Template
    created_at: datetime
    attempts: int


class OutboxStore:
    """The rows of the outbox. No method holds a connection after it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[QueuedMail]:
        """Return mails that are due, and reserve them for this process until the time `until`."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["claim-due-mail"], now, until, list(Template), limit)
        return [QueuedMail(**{**row, "template": Template(row["template"])}) for row in rows]

    async def add_token(self, user_id: UUID, token: OneTimeToken, now: datetime) -> bool:
        """Store a token and delete the oldest ones beyond `MAX_VALID`; return False if the account needs no token."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["lock-recipient"], user_id, token.purpose) is None:
                return False
            expires_at = now + LIFETIMES[token.purpose]
            await connection.execute(
                _SQL["add-token"], token.token_hash, user_id, token.purpose, now, expires_at, MAX_VALID
            )
        return True

    async def discard_token(self, token_hash: bytes) -> None:
        """Delete the token of a mail that was not sent."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["discard-token"], token_hash)

    async def remove(self, mail_id: int) -> None:
        """Remove a mail that was sent or is not needed any more."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["remove-mail"], mail_id)

    async def abandon(self, mail_id: int, kind: AuditEventKind, detail: Mapping[str, str | int]) -> None:
        """Remove a mail that will never be sent, and record that in the audit trail of its account."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["abandon-mail"], mail_id, kind, json.dumps(dict(detail)))

    async def postpone(self, mail_id: int, until: datetime) -> None:
        """Make the mail due again at `until`."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["postpone-mail"], mail_id, until)

    async def measure(self) -> tuple[int, datetime | None]:
        """Return the number of queued mails, and the time of the oldest."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["measure-outbox"])
        return (0, None) if row is None else (row["waiting"], row["oldest"])
