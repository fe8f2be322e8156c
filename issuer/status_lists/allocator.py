"""Allocates indices of Token Status Lists (draft-ietf-oauth-status-list-20).

Each session has one index: setting its bit revokes the access tokens of the session at verifiers, which never call
the issuer during a request. An issuer leases ranges of indices and allocates them from memory, so two issuers never
allocate the same index, and a login waits for a lease only when logins are faster than leases. The rest of a range is
lost when the issuer stops; that costs 32 bytes of a list.
"""

import asyncio
from collections import deque

import structlog

from issuer.errors import DatabaseUnavailableError
from issuer.status_lists.models import LEASE_SIZE, StatusListEntry
from issuer.status_lists.publisher import StatusListPublisher
from issuer.status_lists.store import StatusListStore
from issuer.tokens.models import status_reference
from shared.claims import StatusReference

_log = structlog.get_logger(__name__)


class StatusIndexAllocator:
    """An allocator of status list indices.

    Args:
        issuer: the issuer's URL.
    """

    def __init__(self, store: StatusListStore, issuer: str, publisher: StatusListPublisher) -> None:
        self._store = store
        self._issuer = issuer
        self._publisher = publisher
        self._free: deque[StatusListEntry] = deque()
        self._leasing: asyncio.Task[None] | None = None

    async def lease(self) -> StatusListEntry:
        """Return a unique index, from memory. The next range is leased when half of this one is used.

        Raises:
            UnavailableError: no index is left in memory, and the database is unavailable.
        """
        if self._free and self._publisher.is_closed(self._free[0].list_id):
            self.discard_leases()
        if len(self._free) <= LEASE_SIZE // 2:
            self._begin_leasing()
        while not self._free:
            # Shielded: a cancelled login must not cancel the lease that other logins wait for.
            await asyncio.shield(self._begin_leasing())
        return self._free.popleft()

    def discard_leases(self) -> None:
        """Discard the leased indices, for example because another issuer has leased them too."""
        self._free.clear()

    def reference(self, index: StatusListEntry) -> StatusReference:
        """Return the reference that tokens carry."""
        return status_reference(self._issuer, index.list_id, index.idx)

    def revoked(self) -> None:
        """Publish at once instead of at the next poll, since this process has set a bit."""
        self._publisher.notify()

    def _begin_leasing(self) -> asyncio.Task[None]:
        if self._leasing is None or self._leasing.done():
            self._leasing = asyncio.create_task(self._lease_range())
            self._leasing.add_done_callback(_log_failure)
        return self._leasing

    async def _lease_range(self) -> None:
        first = await self._store.lease(LEASE_SIZE)
        if first is None:
            raise DatabaseUnavailableError("no status list has free indices")
        self._free.extend(StatusListEntry(first.list_id, first.idx + offset) for offset in range(LEASE_SIZE))


def _log_failure(task: asyncio.Task[None]) -> None:
    """Log a failed lease. A login that needs the range retries, and gets the error itself."""
    if not task.cancelled() and task.exception() is not None:
        _log.warning("status_index_lease_failed", kind=type(task.exception()).__name__)
