"""The use cases of accounts: authenticate and look up. No HTTP, no SQL, no clock of its own.

The order inside `authenticate` is the defence: turn away at the door who would wait too long, look up counters and
account at once, let the connection go, hash exactly once whatever was found, and only then judge. Body, status and
work are the same for every refusal.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from issuer.context import RequestContext
from issuer.email_address import EmailAddress, InvalidEmailError, parse_email
from issuer.errors import (
    FieldFault,
    InvalidCredentialsError,
    InvalidFieldsError,
    OverloadedError,
    StoreUnavailableError,
    TooManyAttemptsError,
)
from issuer.passwords.hash_queue import Priority, QueueClient
from issuer.passwords.hasher import PasswordCheck, PasswordHasher
from issuer.passwords.policy import MAX_LENGTH, is_too_long
from issuer.sessions.models import StoredAccount
from issuer.telemetry.metrics import Metrics
from issuer.throttling.login_limits import LoginAttempt, LoginDecision, LoginHistory, ShownSession
from issuer.throttling.throttle import CounterIncrement, Throttle, ip_network_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """What an account's owner may see of it."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that may be made. Its repr leaves the hash out."""

    account: Account
    email_key: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AuthenticatedAccount:
    """An account whose password was verified.

    Attributes:
        account: as it was before the hash.
        limits: the counters that must still let the login pass when its session is created, which clears the first.
    """

    account: StoredAccount
    limits: tuple[CounterIncrement, ...]


class AccountStore(Protocol):
    """What the use cases ask of `store/`. Each method is one round trip that keeps no connection."""

    async def insert_account(self, registration: NewAccount, context: RequestContext) -> bool:
        """Add it with its event, or say False if the key is taken: one atomic statement."""

    async def get_login_state(
        self, attempt: LoginAttempt, now: datetime
    ) -> tuple[LoginHistory, StoredAccount | None]:
        """Return what a login is judged by, before and after the hash; the same work without an account."""

    async def find_account(self, account_id: UUID, session_id: UUID, now: datetime) -> Account | None:
        """The account, unless it is disabled or this session of it is not live."""

    async def count_failed_login(
        self,
        email_key: str,
        increments: Sequence[CounterIncrement],
        now: datetime,
        context: RequestContext,
        *,
        may_disable: bool,
    ) -> bool:
        """Count and record it, and disable the password after the last failure.

        False, and nothing of it is done, if others used up a limit meanwhile. The same work without an account.
        """

    async def replace_password_hash(self, account_id: UUID, old: str, new: str) -> None:
        """Compare and swap: nothing happens if the hash is no longer `old`."""


class Accounts:
    """Authenticates people; with `verified_only`, only those whose email is verified."""

    def __init__(
        self,
        store: AccountStore,
        passwords: PasswordHasher,
        throttle: Throttle,
        metrics: Metrics,
        now: Callable[[], datetime],
        *,
        verified_only: bool = False,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._throttle = throttle
        self._metrics = metrics
        self._now = now
        self._upgrades: set[asyncio.Task[None]] = set()
        self._verified_only = verified_only
        for outcome in ("accepted", "refused", "throttled"):
            metrics.logins.labels(outcome)  # or the first of them would not be an increase

    async def authenticate(
        self, email: str, password: str, context: RequestContext, shown: ShownSession | None = None
    ) -> AuthenticatedAccount:
        """Return the account that `email` and `password` open.

        The caller must not act on it before the limits were checked once more: other attempts may have used them up
        during the hash, and then the outcome must not be told. Creating a session checks them; where there is none to
        create, `reauthenticate` does.

        Args:
            email: as the person wrote it.
            password: likewise.
            context: of the request.
            shown: the session that the request shows, if any.

        Raises:
            InvalidFieldsError: not an email or beyond any password's length; the same for every account.
            TooManyAttemptsError: too many have failed; the same for every account, existing or not.
            InvalidCredentialsError: for every other reason.
            UnavailableError: not now.
        """
        client = queue_client_of(context)
        self._passwords.check_capacity(client)
        attempt = self._throttle.attempt(_readable(email, password).key, context, shown)
        history, found = await self._store.get_login_state(attempt, self._now())
        decision = self._judge(history)
        stored = found.password_hash if found and self._is_open(found, decision) else None
        verdict = await self._passwords.verify(stored, password, client)
        if found is None or not verdict.matches:
            await self._fail(attempt, decision, context)
            raise InvalidCredentialsError
        self._upgrade(found, verdict, password)
        return AuthenticatedAccount(found, self._throttle.increments(attempt, decision))

    async def reauthenticate(
        self, account: Account, password: str, context: RequestContext, shown: ShownSession
    ) -> StoredAccount:
        """Return the account of a session, if `password` opens it: by the way and the limits of every login.

        Raises:
            InvalidFieldsError: beyond any password's length.
            TooManyAttemptsError: too many have failed.
            InvalidCredentialsError: for every other reason.
            UnavailableError: not now.
        """
        found = (await self.authenticate(account.email, password, context, shown)).account
        attempt = self._throttle.attempt(_readable(account.email, password).key, context, shown)
        history, latest = await self._store.get_login_state(attempt, self._now())
        decision = self._judge(history)
        if found.id != account.id or latest is None or not self._is_open(latest, decision):
            raise InvalidCredentialsError
        return found

    def count_accepted(self, account: StoredAccount) -> None:
        """Count and log a login whose session was created."""
        self._metrics.logins.labels("accepted").inc()
        _log.info("login accepted", account=str(account.id))

    async def find(self, account_id: UUID, session_id: UUID) -> Account | None:
        """The account, unless it is gone or disabled or this session of it has ended.

        Raises:
            UnavailableError: not now.
        """
        return await self._store.find_account(account_id, session_id, self._now())

    def _is_open(self, found: StoredAccount, decision: LoginDecision) -> bool:
        """A disabled password still serves the proven owner."""
        verified = found.email_verified_at is not None or not self._verified_only
        usable = found.password_disabled_at is None or decision.is_owner
        return verified and found.disabled_at is None and usable

    def _judge(self, history: LoginHistory) -> LoginDecision:
        try:
            return self._throttle.judge(history)
        except TooManyAttemptsError:
            self._metrics.logins.labels("throttled").inc()
            raise

    async def _fail(self, attempt: LoginAttempt, decision: LoginDecision, context: RequestContext) -> None:
        """Count and record it, unless its outcome must not be told."""
        counted = await self._store.count_failed_login(
            attempt.email_key,
            self._throttle.increments(attempt, decision),
            self._now(),
            context,
            may_disable=not decision.is_owner,
        )
        self._metrics.logins.labels("refused" if counted else "throttled").inc()
        if not counted:
            raise self._throttle.overtaken(decision)

    def _upgrade(self, found: StoredAccount, verdict: PasswordCheck, password: str) -> None:
        """Store what the password is hashed to today. A login never fails over it, nor waits for it."""
        if verdict.replacement is not None:
            upgrade = self._replace_hash(found, verdict.replacement)
        elif verdict.outdated:
            upgrade = self._rehash(found, password)
        else:
            return
        task = asyncio.create_task(upgrade)
        self._upgrades.add(task)
        task.add_done_callback(self._upgrades.discard)

    async def _rehash(self, found: StoredAccount, password: str) -> None:
        try:
            new = await self._passwords.hash(password, QueueClient(priority=Priority.OTHER))
        except OverloadedError:
            _log.info("password hash upgrade postponed", account=str(found.id))
        else:
            await self._replace_hash(found, new)

    async def _replace_hash(self, found: StoredAccount, new: str) -> None:
        try:
            await self._store.replace_password_hash(found.id, found.password_hash, new)
        except StoreUnavailableError:
            _log.info("password hash upgrade postponed", account=str(found.id))


def queue_client_of(context: RequestContext, priority: Priority = Priority.LOGIN) -> QueueClient:
    """For whom a hash is computed, when a request from `context` needs one."""
    return QueueClient(ip_network_of(context), context.is_disconnected, priority)


def _readable(email: str, password: str) -> EmailAddress:
    if is_too_long(password):
        raise InvalidFieldsError(FieldFault("password", f"must have at most {MAX_LENGTH} characters"))
    try:
        return parse_email(email)
    except InvalidEmailError as error:
        raise InvalidFieldsError(FieldFault("email", str(error))) from error
