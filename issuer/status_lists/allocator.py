"""Token Status Lists (draft-ietf-oauth-status-list-20): which bit is whose.

Each session has one bit, so that ending it ends its access tokens at verifiers that never ask. An issuer leases
indices by the range and hands them out from memory: two issuers never give out one bit, and a login waits for no
lease unless they come faster than leases do. A range that a stopped issuer had not used up is lost, which costs
32 bytes of a list.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from issuer.errors import StoreUnavailableError
from issuer.status_lists.models import LEASE_SIZE, StatusListEntry, status_list_uri
from issuer.status_lists.store import StatusListStore
from issuer.tokens.models import StatusReference

_log = structlog.get_logger(__name__)


class StatusIndexAllocator:
    """Hands out indices.

    Args:
        store: where ranges are leased.
        issuer: the issuer's URL.
        revoked: called when a bit was set by this process.
        is_closed: whether all bits of a list are set, so that its indices are of no use.
    """

    def __init__(
        self,
        store: StatusListStore,
        issuer: str,
        revoked: Callable[[], None] = lambda: None,
        is_closed: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._issuer = issuer
        self._revoked = revoked
        self._is_closed = is_closed
        self._free: deque[StatusListEntry] = deque()
        self._leasing: asyncio.Task[None] | None = None

    async def lease(self) -> StatusListEntry:
        """An index that nobody else has. From memory: half a range ahead the next one is asked for.

        Raises:
            UnavailableError: there is none left here, and none to be had now.
        """
        if self._free and self._is_closed(self._free[0].list_id):
            self.discard_leases()
        if len(self._free) <= LEASE_SIZE // 2:
            self._begin_leasing()
        while not self._free:
            # Shielded: one login that gives up must not stop the lease that others wait for.
            await asyncio.shield(self._begin_leasing())
        return self._free.popleft()

    def discard_leases(self) -> None:
        """Give up what is leased: it turned out to be somebody else's."""
        self._free.clear()

    def reference(self, index: StatusListEntry) -> StatusReference:
        """As tokens carry it."""
        return StatusReference(status_list_uri(self._issuer, index.list_id), index.idx)

    def revoked(self) -> None:
        """A bit was set by this process: publish it now and not at the next look."""
        self._revoked()

    def _begin_leasing(self) -> asyncio.Task[None]:
        if self._leasing is None or self._leasing.done():
            self._leasing = asyncio.create_task(self._lease_range())
            self._leasing.add_done_callback(_retrieve)
        return self._leasing

    async def _lease_range(self) -> None:
        first = await self._store.lease(LEASE_SIZE)
        if first is None:
            raise StoreUnavailableError("no status list has room")
        self._free.extend(StatusListEntry(first.list_id, first.idx + offset) for offset in range(LEASE_SIZE))


def _retrieve(task: asyncio.Task[None]) -> None:
    """A failure ahead of need is nobody's: whoever needs the range will try again and be told."""
    if not task.cancelled() and task.exception() is not None:
        _log.warning("status indices not leased", kind=type(task.exception()).__name__)
