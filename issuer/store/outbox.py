"""The outbox in PostgreSQL: rows in, frozen values out."""

from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.letters import Template
from issuer.one_time_tokens import Purpose
from issuer.outbox import WaitingMail
from issuer.store.database import Database
from issuer.store.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_name("outbox.sql"))


class OutboxRows:
    """Implements `issuer.outbox.OutboxStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[WaitingMail]:
        """Mails that are due, and ours until that moment."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["claim-due-mail"], now, until, list(Template), limit)
        return [WaitingMail(**{**row, "template": Template(row["template"])}) for row in rows]

    async def replace_token(
        self, token_hash: bytes, user_id: UUID, purpose: Purpose, now: datetime, expires_at: datetime
    ) -> bool:
        """Make it the one live token of the account for `purpose`."""
        async with self._database.connection() as connection:
            found = await connection.fetchval(_SQL["replace-token"], token_hash, user_id, purpose, now, expires_at)
        return found is not None

    async def remove(self, mail_id: int) -> None:
        """It is sent, or never will be."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["remove-mail"], mail_id)

    async def postpone(self, mail_id: int, until: datetime) -> None:
        """Try again then."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["postpone-mail"], mail_id, until)

    async def measure(self) -> tuple[int, datetime | None]:
        """How many wait, and since when the oldest."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["measure-outbox"])
        return (0, None) if row is None else (row["waiting"], row["oldest"])
