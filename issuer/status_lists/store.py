"""The status lists in PostgreSQL: leased indices, and the bits that are set."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from issuer.db.pool import Database
from issuer.db.queries import load_queries
from issuer.status_lists.models import LEASE_SIZE, StatusListEntry, StatusListSnapshot
from shared.access_token import REVOCATION_RETENTION_SECONDS
from shared.status_list import LIST_BITS

PUBLISH_SECONDS: Final = 60.0
"""Time between the publication of a new list and its first use: every verifier has polled for lists by then."""

_QUARTER: Final = LIST_BITS // 4
_ATTEMPTS: Final = 5
_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


class StatusListStore:
    """The tables `status_lists` and `revocations`. Each method is one committed transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(self, count: int) -> StatusListEntry | None:
        """Lease `count` indices and return the first; None if no list has enough free indices."""
        for _ in range(_ATTEMPTS):
            async with self._database.connection() as connection:
                row = await connection.fetchrow(_SQL["lease-range"], count, PUBLISH_SECONDS)
            if row is None or row["remaining"] < _QUARTER:
                await self.extend()
            if row is not None:
                return StatusListEntry(row["id"], row["first"])
        return None

    async def extend(self) -> None:
        """Add a list if no list has a quarter of its indices free. Concurrent calls add one list only."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL["lock-extension"])
            await connection.execute(_SQL["extend"], LIST_BITS, _QUARTER)

    async def list_states(self) -> list[StatusListSnapshot]:
        """Return every list that a live or future token may refer to."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["list-states"], LEASE_SIZE, timedelta(seconds=REVOCATION_RETENTION_SECONDS)
            )
        return [StatusListSnapshot(**row) for row in rows]

    async def revoked_indices(self, list_id: int) -> list[int]:
        """Return the indices of a list whose bits are set."""
        async with self._database.connection() as connection:
            indices: list[int] = await connection.fetchval(_SQL["revoked-indices"], list_id)
        return indices
