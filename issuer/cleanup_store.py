"""Deletion of expired rows from PostgreSQL, one batch per transaction."""

from datetime import datetime
from pathlib import Path
from typing import Final

from issuer.db.pool import Database
from issuer.db.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))
_TURN: Final = "take-turn"


class DeadRows:
    """Implements `issuer.cleanup.CleanupStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def subjects(self) -> tuple[str, ...]:
        """The kinds of rows, in the order of their deletion."""
        return tuple(name for name in _SQL if name != _TURN)

    async def remove(self, subject: str, expired_before: datetime, batch: int) -> int | None:
        """Delete at most `batch` expired rows and return their number; None if another issuer is doing it."""
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_SQL[_TURN]):
                return None
            tag: str = await connection.execute(_SQL[subject], expired_before, batch)
        return int(tag.removeprefix("DELETE "))
