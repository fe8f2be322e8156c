"""Token Status Lists (draft-ietf-oauth-status-list-20): which bit is whose.

Each session has one bit, so that ending it ends its access tokens at verifiers that never ask. An issuer leases
indices by the range and hands them out from memory: two issuers never give out one bit, and a login waits for no
lease unless they come faster than leases do. A range that a stopped issuer had not used up is lost, which costs
32 bytes of a list.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from issuer.errors import StoreUnavailableError
from issuer.tokens.access_token import StatusReference

RANGE: Final = 256
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StatusIndex:
    """One bit: which list, and which of its bits."""

    list_id: int
    idx: int


class StatusListStore(Protocol):
    """What is asked of `store/`. Each method is one transaction, committed when it returns."""

    async def lease(self, count: int) -> StatusIndex | None:
        """The first of `count` indices that nobody else will ever get; None if no list has them."""

    async def extend(self) -> None:
        """Add a list if none has a quarter of its indices left, once however many issuers ask."""


def status_list_uri(issuer: str, list_id: int) -> str:
    """How tokens name a list."""
    return f"{issuer.rstrip('/')}/status-lists/{list_id}"


class StatusLists:
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
        self._free: deque[StatusIndex] = deque()
        self._leasing: asyncio.Task[None] | None = None

    async def lease(self) -> StatusIndex:
        """An index that nobody else has. From memory: half a range ahead the next one is asked for.

        Raises:
            UnavailableError: there is none left here, and none to be had now.
        """
        if self._free and self._is_closed(self._free[0].list_id):
            self.forget_leases()
        if len(self._free) <= RANGE // 2:
            self._begin_leasing()
        while not self._free:
            # Shielded: one login that gives up must not stop the lease that others wait for.
            await asyncio.shield(self._begin_leasing())
        return self._free.popleft()

    def forget_leases(self) -> None:
        """Give up what is leased: it turned out to be somebody else's."""
        self._free.clear()

    def reference(self, index: StatusIndex) -> StatusReference:
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
        first = await self._store.lease(RANGE)
        if first is None:
            raise StoreUnavailableError("no status list has room")
        self._free.extend(StatusIndex(first.list_id, first.idx + offset) for offset in range(RANGE))


def _retrieve(task: asyncio.Task[None]) -> None:
    """A failure ahead of need is nobody's: whoever needs the range will try again and be told."""
    if not task.cancelled() and task.exception() is not None:
        _log.warning("status indices not leased", kind=type(task.exception()).__name__)
