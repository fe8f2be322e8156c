"""The outbox: sends what waits there, again and again until it is taken, and gives up after a day.

Requests only add rows, in the transaction of the change that a mail tells of; this loop, in every issuer,
shares the work. A token is made at the moment of sending, so no secret lies in the database, and a second
try makes a second token that replaces the first. A crash between sending and removing means a second mail,
never none.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from typing import Final, Protocol
from uuid import UUID

import structlog

from issuer.addresses import AddressError, mailbox_of
from issuer.errors import StoreUnavailableError
from issuer.mail.letters import LETTERS, Stationery, Template
from issuer.mail.one_time_tokens import LIFETIMES, Purpose, new_token
from issuer.mail.senders import MAX_AT_ONCE, DeliveryError, Sender
from issuer.metrics import Metrics

_POLL_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 5.0
_MEASURE_EVERY: Final = timedelta(seconds=15)

_CLAIM: Final = timedelta(minutes=5)
"""Longer than any sending takes, with its timeouts: nobody else sends the same mail meanwhile."""

_FIRST_RETRY: Final = timedelta(seconds=5)
_LONGEST_RETRY: Final = timedelta(hours=1)
_GIVE_UP_AFTER: Final = timedelta(hours=24)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WaitingMail:
    """A row of the outbox. Its repr leaves the address out."""

    id: int
    user_id: UUID
    email: str = field(repr=False)
    template: Template
    created_at: datetime
    attempts: int


class OutboxStore(Protocol):
    """What the outbox asks of `store/`. Each method is one round trip that keeps no connection."""

    async def claim(self, now: datetime, until: datetime, limit: int) -> list[WaitingMail]:
        """Mails that are due, from now on nobody else's `until` that moment."""

    async def replace_token(
        self, token_hash: bytes, user_id: UUID, purpose: Purpose, now: datetime, expires_at: datetime
    ) -> bool:
        """Make it the one live token of the account for `purpose`, or say False if there is no call for it."""

    async def remove(self, mail_id: int) -> None:
        """It is sent, or never will be."""

    async def postpone(self, mail_id: int, until: datetime) -> None:
        """Try again then."""

    async def measure(self) -> tuple[int, datetime | None]:
        """How many wait, and since when the oldest."""


class Outbox:
    """The loop that sends.

    Args:
        store: where mail waits.
        sender: how it leaves.
        stationery: what all letters share.
        metrics: where outcomes are counted.
        now: the clock.
        new_id: a fresh random UUID.
        random_bytes: as `os.urandom`.
        fraction: a random number in [0, 1).
    """

    def __init__(
        self,
        store: OutboxStore,
        sender: Sender,
        stationery: Stationery,
        metrics: Metrics,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        random_bytes: Callable[[int], bytes],
        fraction: Callable[[], float],
    ) -> None:
        self._store = store
        self._sender = sender
        self._stationery = stationery
        self._metrics = metrics
        self._now = now
        self._new_id = new_id
        self._random_bytes = random_bytes
        self._fraction = fraction
        self._measured_at = datetime.min.replace(tzinfo=now().tzinfo)
        for template, outcome in product(LETTERS, ("sent", "failed", "given_up", "dropped")):
            metrics.mails.labels(template, outcome)  # or the first of them would not be an increase

    async def run(self) -> None:
        """Send what is due, for ever."""
        try:
            while True:  # noqa: ASYNC110 - what it waits for is done by other processes too
                await asyncio.sleep(await self._round())
        finally:
            self._sender.close()

    async def deliver_due(self) -> int:
        """Send some of what is due; how many were tried.

        Raises:
            StoreUnavailableError: PostgreSQL does not answer.
        """
        now = self._now()
        mails = await self._store.claim(now, now + _CLAIM, MAX_AT_ONCE)
        outcomes = await asyncio.gather(*(self._deliver(mail) for mail in mails), return_exceptions=True)
        for fault in filter(None, outcomes):
            raise fault
        return len(mails)

    async def _round(self) -> float:
        """One turn; seconds until the next."""
        try:
            tried = await self.deliver_due()
            await self._measure()
        except StoreUnavailableError:
            return _AWAY_SECONDS
        except Exception as error:  # noqa: BLE001 - mail must not stop for good because of one row
            # The kind alone: messages of PostgreSQL quote the rows that they are about.
            _log.error("outbox failed", kind=type(error).__name__)
            return _AWAY_SECONDS
        return 0 if tried == MAX_AT_ONCE else _POLL_SECONDS * (0.5 + self._fraction())

    async def _deliver(self, mail: WaitingMail) -> None:
        try:
            outcome = await self._send(mail)
        except DeliveryError as error:
            await self._failed(mail, error)
            return
        await self._store.remove(mail.id)
        self._metrics.mails.labels(mail.template, outcome).inc()

    async def _send(self, mail: WaitingMail) -> str:
        """Write and send it; what came of it, unless it failed."""
        purpose, token = LETTERS[mail.template].purpose, ""
        if purpose is not None:
            made, now = new_token(purpose, self._random_bytes), self._now()
            if not await self._store.replace_token(
                made.token_hash, mail.user_id, purpose, now, now + LIFETIMES[purpose]
            ):
                return "dropped"
            token = made.text
        try:
            mailbox = mailbox_of(mail.email)
            message = self._stationery.write(mail.template, mailbox, token, self._now(), self._new_id())
        except (AddressError, ValueError) as error:
            raise DeliveryError(type(error).__name__, is_final=True) from None
        await self._sender.send(message)
        _log.info("mail sent", template=mail.template, account=str(mail.user_id))
        return "sent"

    async def _failed(self, mail: WaitingMail, error: DeliveryError) -> None:
        """Put it off, each time for twice as long; or give it up."""
        known = {"template": mail.template, "account": str(mail.user_id), "kind": str(error)}
        now = self._now()
        if error.is_final or now - mail.created_at >= _GIVE_UP_AFTER:
            await self._store.remove(mail.id)
            self._metrics.mails.labels(mail.template, "given_up").inc()
            _log.error("mail given up", attempts=mail.attempts, **known)
            return
        doubled = _FIRST_RETRY * 2 ** min(mail.attempts - 1, 16)
        # From half to the whole, so that what failed together does not come back together.
        wait = min(doubled, _LONGEST_RETRY) * (0.5 + self._fraction() / 2)
        await self._store.postpone(mail.id, now + wait)
        self._metrics.mails.labels(mail.template, "failed").inc()
        _log.warning("mail failed", attempts=mail.attempts, **known)

    async def _measure(self) -> None:
        now = self._now()
        if now - self._measured_at < _MEASURE_EVERY:
            return
        self._measured_at = now
        waiting, oldest = await self._store.measure()
        self._metrics.outbox_mails.set(waiting)
        self._metrics.outbox_oldest_seconds.set((now - oldest).total_seconds() if oldest else 0)
