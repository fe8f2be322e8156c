"""Password checks: at login, and before a user changes or deletes the account.

The order inside `authenticate` is the defence: reject work that would wait too long, look up counters and account in
one statement, reject an attempt that a limit delays, compute exactly one hash whether or not there is an account, and
only then decide. No connection is held during the hash. Body, status and work are the same for every wrong login.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from issuer.accounts.input_checks import check_password_length, read_email
from issuer.accounts.models import Account, AuthenticatedAccount
from issuer.accounts.store import AccountStore
from issuer.context import RequestContext
from issuer.errors import DatabaseUnavailableError, InvalidCredentialsError, OverloadedError
from issuer.passwords.hash_queue import Priority, QueueClient
from issuer.passwords.hasher import PasswordCheck, PasswordHasher
from issuer.sessions.models import StoredAccount
from issuer.throttling.models import LoginAttempt, LoginDecision, ShownSession
from issuer.throttling.throttle import Throttle, ip_network_of

_log = structlog.get_logger(__name__)


class PasswordAuthenticator:
    """The password check of accounts; with `require_verified_email`, only of accounts whose email is verified."""

    def __init__(
        self,
        store: AccountStore,
        passwords: PasswordHasher,
        throttle: Throttle,
        now: Callable[[], datetime],
        *,
        require_verified_email: bool = False,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._throttle = throttle
        self._now = now
        self._upgrades: set[asyncio.Task[None]] = set()
        self._require_verified_email = require_verified_email

    async def authenticate(
        self, email: str, password: str, context: RequestContext, shown: ShownSession | None = None
    ) -> AuthenticatedAccount:
        """Return the account that `email` and `password` match.

        The caller must check the limits again before it acts on the result: other attempts may have used them up
        during the hash, and then the outcome must not be revealed. Creating a session checks them; for everything
        else, call `reauthenticate` instead, or `confirm` afterwards.

        Raises:
            InvalidFieldsError: the email is malformed, or the password too long; the same for every account.
            TooManyAttemptsError: too many attempts have failed; the same for every account, existing or not.
            InvalidCredentialsError: for every other reason.
            UnavailableError: the database or the hash queue is unavailable.
        """
        client = queue_client_of(context)
        self._passwords.check_capacity(client)
        attempt = self._attempt(email, password, context, shown)
        history, found = await self._store.get_login_state(attempt, self._now())
        decision = self._throttle.decide(history)
        stored = found.password_hash if found and self._may_log_in(found, decision) else None
        check = await self._passwords.verify(stored, password, client)
        if found is None or not check.matches:
            await self._record_failure(attempt, decision, context)
            raise InvalidCredentialsError
        self._upgrade(found, check, password)
        return AuthenticatedAccount(found, self._throttle.increments(attempt, decision))

    async def reauthenticate(
        self, account: Account, password: str, context: RequestContext, shown: ShownSession
    ) -> StoredAccount:
        """Return the account of a session if `password` matches. The limits of logins apply.

        Raises:
            InvalidFieldsError: the password is too long.
            TooManyAttemptsError: too many attempts have failed.
            InvalidCredentialsError: for every other reason.
            UnavailableError: the database or the hash queue is unavailable.
        """
        found = (await self.authenticate(account.email, password, context, shown)).account
        if found.id != account.id:
            raise InvalidCredentialsError
        await self.confirm(account.email, password, context, shown)
        return found

    async def confirm(self, email: str, password: str, context: RequestContext, shown: ShownSession | None) -> None:
        """Check limits and account again, after `authenticate` has accepted the password.

        Raises:
            TooManyAttemptsError: other attempts have failed meanwhile.
            InvalidCredentialsError: the account was disabled or deleted meanwhile.
            UnavailableError: the database is unavailable.
        """
        history, latest = await self._store.get_login_state(
            self._attempt(email, password, context, shown), self._now()
        )
        if latest is None or not self._may_log_in(latest, self._throttle.decide(history)):
            raise InvalidCredentialsError

    def check_capacity(self, context: RequestContext) -> None:
        """Check that a password could be hashed soon, before any other work for a login.

        Raises:
            OverloadedError: the hash would start too late.
        """
        self._passwords.check_capacity(queue_client_of(context))

    def _attempt(
        self, email: str, password: str, context: RequestContext, shown: ShownSession | None
    ) -> LoginAttempt:
        check_password_length("password", password)
        return self._throttle.attempt(read_email(email).key, context, shown)

    def _may_log_in(self, found: StoredAccount, decision: LoginDecision) -> bool:
        # A password that too many failures have disabled still works for a proven login.
        verified = found.email_verified_at is not None or not self._require_verified_email
        usable = found.password_disabled_at is None or decision.is_proven
        return verified and found.disabled_at is None and usable

    async def _record_failure(self, attempt: LoginAttempt, decision: LoginDecision, context: RequestContext) -> None:
        counted = await self._store.count_failed_login(
            attempt.email_key,
            self._throttle.increments(attempt, decision),
            self._now(),
            context,
            may_disable=not decision.is_proven,
        )
        if not counted:
            raise self._throttle.overtaken(decision)

    def _upgrade(self, found: StoredAccount, check: PasswordCheck, password: str) -> None:
        # In the background: a login neither waits for an upgrade nor fails because of one.
        if check.replacement is not None:
            upgrade = self._replace_hash(found, check.replacement)
        elif check.outdated:
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
            _log.info("password_hash_upgrade_postponed", account=str(found.id))
        else:
            await self._replace_hash(found, new)

    async def _replace_hash(self, found: StoredAccount, new: str) -> None:
        try:
            await self._store.replace_password_hash(found.id, found.password_hash, new)
        except DatabaseUnavailableError:
            _log.info("password_hash_upgrade_postponed", account=str(found.id))


def queue_client_of(context: RequestContext, priority: Priority = Priority.LOGIN) -> QueueClient:
    """Return the client of a request for the hash queue, in which all clients of one IP network count as one."""
    return QueueClient(ip_network_of(context), context.is_disconnected, priority)
