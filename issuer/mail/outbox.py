"""The outbox: sends queued mail, retries failures, and abandons a mail after a day or a permanent rejection.

A mail about a change is queued in the transaction of that change. This loop runs in every issuer. A token is created
when its mail is sent, so the database holds no secret; if sending fails, the token is deleted. After a crash between
sending a mail and removing it from the outbox, the mail is sent twice, but never lost. A process that stops waits for
mail that it is sending.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import product
from typing import Final
from uuid import uuid4

import structlog

from issuer.audit.events import AuditEventKind
from issuer.email_address import parse_email
from issuer.errors import DatabaseUnavailableError
from issuer.mail.store import OutboxStore, QueuedMail
from issuer.mail.templates import TEMPLATES, MailComposer
from issuer.mail.transport import MAX_AT_ONCE, DeliveryError, MailTransport
from issuer.telemetry.metrics import Metrics
from issuer.tokens.one_time_token import OneTimeToken, new_token

_POLL_SECONDS: Final = 1.0
_OUTAGE_SECONDS: Final = 5.0
_MEASURE_EVERY: Final = timedelta(seconds=15)

_CLAIM: Final = timedelta(minutes=5)
"""Longer than any attempt (`smtp_client.ATTEMPT_SECONDS`), so that no other issuer sends the same mail meanwhile."""

_STOP_SECONDS: Final = 5.0
"""Maximum wait for mail that is being sent when the process stops."""

_FIRST_RETRY: Final = timedelta(seconds=5)
_LONGEST_RETRY: Final = timedelta(hours=1)
_ABANDON_AFTER: Final = timedelta(hours=24)

_log = structlog.get_logger(__name__)


class Outbox:
    """A loop that sends mail.

    Args:
        fraction: returns a random number in [0, 1).
    """

    def __init__(
        self,
        store: OutboxStore,
        transport: MailTransport,
        composer: MailComposer,
        metrics: Metrics,
        now: Callable[[], datetime],
        fraction: Callable[[], float],
    ) -> None:
        self._store = store
        self._transport = transport
        self._composer = composer
        self._metrics = metrics
        self._now = now
        self._fraction = fraction
        self._measured_at = datetime.min.replace(tzinfo=now().tzinfo)
        for template, outcome in product(TEMPLATES, ("sent", "failed", "rejected", "abandoned", "dropped")):
            metrics.mails.labels(template, outcome)  # create the series, so that rate() sees the first increment

    async def run(self) -> None:
        """Send mail that is due, until cancelled."""
        try:
            while True:  # noqa: ASYNC110 - other processes queue mail too
                await asyncio.sleep(await self._round())
        finally:
            self._transport.close()

    async def deliver_due(self) -> int:
        """Send some of the mail that is due; return the number of attempts.

        Raises:
            DatabaseUnavailableError: PostgreSQL is unreachable.
        """
        now = self._now()
        mails = await self._store.claim(now, now + _CLAIM, MAX_AT_ONCE)
        deliveries = asyncio.gather(*(self._deliver(mail) for mail in mails), return_exceptions=True)
        try:
            outcomes = await asyncio.shield(deliveries)
        except asyncio.CancelledError:
            # The process stops. A mail that is accepted now would be sent again if it stayed in the outbox.
            with suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await deliveries
            raise
        for fault in filter(None, outcomes):
            raise fault
        return len(mails)

    async def _round(self) -> float:
        """Send a batch; return the seconds until the next."""
        try:
            tried = await self.deliver_due()
            await self._measure()
        except DatabaseUnavailableError:
            return _OUTAGE_SECONDS
        except Exception as error:  # noqa: BLE001 - one row must not stop all mail
            # Only the type: messages of PostgreSQL quote values of rows.
            _log.error("outbox_failed", kind=type(error).__name__)
            return _OUTAGE_SECONDS
        return 0 if tried == MAX_AT_ONCE else _POLL_SECONDS * (0.5 + self._fraction())

    async def _deliver(self, mail: QueuedMail) -> None:
        purpose = TEMPLATES[mail.template].purpose
        token = None if purpose is None else new_token(purpose, os.urandom)
        try:
            outcome = await self._send(mail, token)
        except DeliveryError as error:
            # Without this, three failed attempts would displace the tokens of mails that were delivered.
            if token is not None:
                await self._store.discard_token(token.token_hash)
            await self._failed(mail, error)
            return
        await self._store.remove(mail.id)
        self._metrics.mails.labels(mail.template, outcome).inc()

    async def _send(self, mail: QueuedMail, token: OneTimeToken | None) -> str:
        """Compose and send the mail; return `sent`, or `dropped` if the account needs no token any more.

        Raises:
            DeliveryError: it was not sent.
        """
        if token is not None and not await self._store.add_token(mail.user_id, token, self._now()):
            return "dropped"
        try:
            recipient = parse_email(mail.email).mailbox
            message = self._composer.compose(
                mail.template, recipient, token.text if token else "", self._now(), uuid4()
            )
        except ValueError as error:
            # The stored email address cannot be a recipient. It never changes, so the failure is final.
            raise DeliveryError(type(error).__name__, is_final=True) from None
        await self._transport.send(message)
        _log.info("mail_sent", template=mail.template, account=str(mail.user_id))
        return "sent"

    async def _failed(self, mail: QueuedMail, error: DeliveryError) -> None:
        """Postpone the mail, each time for twice as long, or abandon it."""
        now = self._now()
        if error.is_final:
            await self._abandon(mail, error, "rejected", AuditEventKind.MAIL_REJECTED)
            return
        if now - mail.created_at >= _ABANDON_AFTER:
            await self._abandon(mail, error, "abandoned", AuditEventKind.MAIL_ABANDONED)
            return
        doubled = _FIRST_RETRY * 2 ** min(mail.attempts - 1, 16)
        # Jitter, so that mails that failed together are not retried together.
        wait = min(doubled, _LONGEST_RETRY) * (0.5 + self._fraction() / 2)
        await self._store.postpone(mail.id, now + wait)
        self._metrics.mails.labels(mail.template, "failed").inc()
        _log.warning("mail_failed", **_log_fields(mail, error))

    async def _abandon(self, mail: QueuedMail, error: DeliveryError, outcome: str, kind: AuditEventKind) -> None:
        detail: dict[str, str | int] = {"template": mail.template, "error": error.kind, "attempts": mail.attempts}
        if error.code is not None:
            detail["smtp_code"] = error.code
        await self._store.abandon(mail.id, kind, detail)
        self._metrics.mails.labels(mail.template, outcome).inc()
        _log.error(f"mail_{outcome}", **_log_fields(mail, error))

    async def _measure(self) -> None:
        now = self._now()
        if now - self._measured_at < _MEASURE_EVERY:
            return
        self._measured_at = now
        waiting, oldest = await self._store.measure()
        self._metrics.outbox_mails.set(waiting)
        # A notice that is postponed by its limit has a time in the future.
        self._metrics.outbox_oldest_seconds.set(max(0.0, (now - oldest).total_seconds()) if oldest else 0)


def _log_fields(mail: QueuedMail, error: DeliveryError) -> dict[str, str | int | None]:
    return {
        "template": mail.template,
        "account": str(mail.user_id),
        "attempts": mail.attempts,
        "kind": error.kind,
        "smtp_code": error.code,
    }
