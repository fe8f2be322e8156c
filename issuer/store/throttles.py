"""Counts of failures in PostgreSQL: rows in, frozen values out."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from issuer.store.database import Database
from issuer.store.queries import load_queries
from issuer.throttle import Count, Tally

_SQL: Final = load_queries(Path(__file__).with_name("throttles.sql"))


class Throttles:
    """The `throttles` table. Implements `issuer.throttle.ThrottleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, tallies: Sequence[Tally], now: datetime) -> Mapping[bytes, Count]:
        """Count one more for each; the counts after it."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["count"],
                [tally.key for tally in tallies],
                [tally.expires_at for tally in tallies],
                [tally.key for tally in tallies if tally.slides],
                now,
            )
        return counts_of(rows)

    async def clear(self, keys: Sequence[bytes]) -> None:
        """Forget them."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["clear"], keys)


def counts_of(rows: Iterable[Any]) -> Mapping[bytes, Count]:
    """The counts in rows of the table."""
    return {row["key"]: Count(row["failures"], row["failed_at"], row["expires_at"]) for row in rows}
