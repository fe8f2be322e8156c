"""Rate-limit counters in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from issuer.db.pool import Database
from issuer.db.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


class RateLimitStore:
    """The `rate_limit_counters` table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count_request(self, key: bytes, now: datetime, expires_at: datetime) -> tuple[int, datetime]:
        """Count one request; return the count and the time at which the counter restarts."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["count-request"], key, now, expires_at)
        assert row is not None  # an upsert without a condition
        return row["count"], row["expires_at"]

    async def clear(self, keys: Sequence[bytes]) -> None:
        """Delete these counters. Rows are locked in this order."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["clear"], keys)
