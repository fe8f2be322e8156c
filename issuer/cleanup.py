"""Deletes expired rows in small batches while requests are served. ADR 0050.

One issuer at a time: each batch is a transaction, which is skipped while another issuer runs one.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from issuer.db.pool import Database
from issuer.db.queries import load_queries
from issuer.telemetry.metrics import Metrics
from shared.access_token import REVOCATION_RETENTION_SECONDS

BATCH: Final = 500
_INTERVAL_SECONDS: Final = 60.0
_BATCH_PAUSE_SECONDS: Final = 0.05

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))
_LOCK: Final = "try-lock"
_KINDS: Final = tuple(name for name in _SQL if name != _LOCK)
"""The kinds of rows, in the order of their deletion."""

_log = structlog.get_logger(__name__)


class Cleanup:
    """A task that deletes expired rows.

    Args:
        fraction: returns a random number in [0, 1).
    """

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        now: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]],
        fraction: Callable[[], float],
    ) -> None:
        self._database = database
        self._deleted = metrics.cleanup_deleted_rows
        self._now = now
        self._pause = pause
        self._fraction = fraction

    async def run(self) -> None:
        """Run about once a minute until cancelled.

        Raises:
            UnavailableError: PostgreSQL is unreachable.
        """
        while True:
            # Random, so that issuers that started together do not all run at the same time.
            await self._pause(_INTERVAL_SECONDS * (0.5 + self._fraction()))
            deleted = await self.once()
            if any(deleted.values()):
                _log.info(
                    "expired_rows_deleted",
                    **{name.replace("-", "_"): count for name, count in deleted.items() if count},
                )

    async def once(self) -> dict[str, int]:
        """Run one pass and return the deleted rows by kind. Rows that another issuer has locked are skipped.

        Raises:
            UnavailableError: PostgreSQL is unreachable.
        """
        # Keep rows until no valid access token can refer to them, even by an issuer whose clock is slow.
        expired_before = self._now() - timedelta(seconds=REVOCATION_RETENTION_SECONDS)
        return {kind: await self._delete_all(kind, expired_before) for kind in _KINDS}

    async def _delete_all(self, kind: str, expired_before: datetime) -> int:
        deleted = 0
        while count := await self._delete_batch(kind, expired_before):
            deleted += count
            self._deleted.labels(kind).inc(count)
            if count < BATCH:
                break
            await self._pause(_BATCH_PAUSE_SECONDS)
        return deleted

    async def _delete_batch(self, kind: str, expired_before: datetime) -> int:
        async with self._database.transaction() as connection:
            if not await connection.fetchval(_SQL[_LOCK]):
                return 0
            tag: str = await connection.execute(_SQL[kind], expired_before, BATCH)
        return int(tag.removeprefix("DELETE "))
