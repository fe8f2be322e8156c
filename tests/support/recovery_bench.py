"""The use cases of recovery on a real store, with the time and randomness of the test."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import pytest

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.accounts.email_verification import EmailVerification
from issuer.accounts.models import Account
from issuer.accounts.password_reset import PasswordReset
from issuer.accounts.registration import RegistrationService
from issuer.accounts.self_service import SelfService
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.accounts.store import AccountStore
from issuer.audit.events import RevocationReason
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.keys.mac_secrets import MacSecret
from issuer.mail.limits import RecipientKeys
from issuer.mail.outbox import Outbox
from issuer.mail.store import OutboxStore
from issuer.mail.templates import MailComposer
from issuer.mail.transport import DeliveryError, MailTransport
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.telemetry.metrics import Metrics
from issuer.throttling.store import RateLimitStore
from issuer.throttling.throttle import Throttle
from tests.support.accounts import CHEAP_HASHES
from tests.support.postgres import fetch

PASSWORD = "a long and lonely walk"
SELF = RequestContext("self", "192.0.2.1", "a browser", "request-1")


@dataclass
class Collector(MailTransport):
    """A mail transport that keeps the messages, or fails if the test sets it."""

    messages: list[EmailMessage] = field(default_factory=list)
    fails: list[DeliveryError] = field(default_factory=list)

    async def send(self, message: EmailMessage) -> None:
        """Keep the message."""
        if self.fails:
            raise self.fails.pop(0)
        self.messages.append(message)

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Clock:
    """A clock that a test advances."""

    at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time of the test."""
        return self.at

    def advance(self, **duration: float) -> None:
        """Let time pass."""
        self.at += timedelta(**duration)


@dataclass
class Ended:
    """The reported revocations of sessions."""

    reported: list[tuple[RevocationReason, int]] = field(default_factory=list)

    def on_revoked(self, reason: RevocationReason, count: int) -> None:
        """Record the revocation."""
        self.reported.append((reason, count))


@dataclass
class RecoveryBench:
    """The recovery and the outbox of one issuer, with their parts."""

    database: Database
    clock: Clock
    metrics: Metrics
    authenticator: PasswordAuthenticator
    registration: RegistrationService
    verified_registration: RegistrationService
    password_reset: PasswordReset
    email_verification: EmailVerification
    self_service: SelfService
    outbox: Outbox
    sent: Collector
    ended: Ended

    async def execute(self, statement: str, *arguments: object) -> list[Any]:
        """Run one statement directly; return its rows."""
        return await fetch(self.database, statement, *arguments)

    async def register(self, email: str, password: str, context: RequestContext) -> Account:
        """Register without a mail and return the account."""
        account = await self.registration.register(email, password, context)
        assert account is not None
        return account

    async def token(self) -> str:
        """Deliver due mails; return the token in the newest one."""
        assert await self.outbox.deliver_due()
        return token_in(self.sent.messages[-1])

    async def reset_token(self, email: str) -> str:
        """Request a password reset; return the token in the mail."""
        await self.password_reset.request(email, SELF)
        return await self.token()


def token_in(message: EmailMessage) -> str:
    """Return the token that a mail carries."""
    found = re.search(r"gp[vw]_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])", message.get_content())
    assert found is not None
    return found[0]


@asynccontextmanager
async def recovery_bench(
    url: str, sender: MailTransport | None = None, *, verified_only: bool = False
) -> AsyncIterator[RecoveryBench]:
    """Yield an issuer without HTTP on the database at `url`."""
    clock, metrics, sent = Clock(), Metrics(), Collector()
    database, secret = Database(url, 10), MacSecret("", bytes(32))
    hash_queue = PasswordHashQueue(2, 30.0, started=lambda _: None, rejected=lambda: None)
    passwords, policy = PasswordHasher(hash_queue, metrics, CHEAP_HASHES), PasswordPolicy(15)
    throttle = Throttle(RateLimitStore(database), lambda: secret, 1000, 1000, metrics, clock)
    recipients, ended = RecipientKeys(lambda: secret), Ended()
    users, rows = AccountStore(database), SelfServiceStore(database, recipients)
    authenticator = PasswordAuthenticator(users, passwords, throttle, clock, require_verified_email=verified_only)
    registration, verified_registration = (
        RegistrationService(users, passwords, policy, metrics, clock, uuid4, throttle, keys)
        for keys in (None, recipients)
    )
    outbox = Outbox(
        OutboxStore(database),
        sender or sent,
        MailComposer("Gatepass", "no-reply@gatepass.example", ""),
        metrics,
        clock,
        lambda: 0.0,
    )
    try:
        yield RecoveryBench(
            database,
            clock,
            metrics,
            authenticator,
            registration,
            verified_registration,
            PasswordReset(rows, passwords, policy, throttle, ended.on_revoked, clock),
            EmailVerification(rows, throttle, clock),
            SelfService(rows, authenticator, passwords, policy, throttle, ended.on_revoked, clock),
            outbox,
            sent,
            ended,
        )
    finally:
        hash_queue.close()
        await database.close()


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[RecoveryBench]:
    """Yield an issuer that sends mails, with its own database."""
    async with recovery_bench(database_url) as built:
        yield built
