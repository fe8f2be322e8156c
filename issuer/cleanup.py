"""Deletes expired rows in small batches while requests are served. ADR 0050.

One issuer at a time: each batch is a transaction that is skipped while another issuer's is under way.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from issuer.telemetry.metrics import Metrics
from shared.access_token import REVOCATION_SECONDS

BATCH: Final = 500
_INTERVAL_SECONDS: Final = 60.0
_BATCH_PAUSE_SECONDS: Final = 0.05

_log = structlog.get_logger(__name__)


class CleanupStore(Protocol):
    """The statements that the clean-up needs."""

    @property
    def subjects(self) -> Sequence[str]:
        """Names of the kinds of rows, in the order of removal."""

    async def remove(self, subject: str, expired_before: datetime, batch: int) -> int | None:
        """Remove at most `batch` rows that were of no use at that moment; how many. None: another does it now."""


class Cleanup:
    """Cleans up in passes.

    Args:
        store: what is cleaned.
        metrics: where removed rows are counted.
        now: the clock.
        pause: waits for so many seconds.
        fraction: a random number in [0, 1).
    """

    def __init__(
        self,
        store: CleanupStore,
        metrics: Metrics,
        now: Callable[[], datetime],
        pause: Callable[[float], Awaitable[None]],
        fraction: Callable[[], float],
    ) -> None:
        self._store = store
        self._removed = metrics.cleanup_deleted_rows
        self._now = now
        self._pause = pause
        self._fraction = fraction

    async def run(self) -> None:
        """A pass each minute or so, until cancelled.

        Raises:
            UnavailableError: PostgreSQL is unreachable.
        """
        while True:
            # Random, so that issuers that started together do not all run at the same time.
            await self._pause(_INTERVAL_SECONDS * (0.5 + self._fraction()))
            removed = await self.once()
            if any(removed.values()):
                _log.info(
                    "expired rows deleted",
                    **{name.replace("-", "_"): count for name, count in removed.items() if count},
                )

    async def once(self) -> dict[str, int]:
        """Run one pass and return the deleted rows by subject. Rows that another issuer has locked are skipped.

        Raises:
            UnavailableError: PostgreSQL is unreachable.
        """
        # Keep rows until no valid access token can refer to them, even by an issuer whose clock is slow.
        expired_before = self._now() - timedelta(seconds=REVOCATION_SECONDS)
        return {subject: await self._remove_all(subject, expired_before) for subject in self._store.subjects}

    async def _remove_all(self, subject: str, expired_before: datetime) -> int:
        removed = 0
        while count := await self._store.remove(subject, expired_before, BATCH):
            removed += count
            self._removed.labels(subject).inc(count)
            if count < BATCH:
                break
            await self._pause(_BATCH_PAUSE_SECONDS)
        return removed
