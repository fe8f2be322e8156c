"""Creates accounts: checks the email and the password, hashes, inserts. No HTTP, no SQL, no clock of its own."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

import structlog

from issuer.accounts.login import Account, AccountStore, NewAccount, queue_client_of
from issuer.context import RequestContext
from issuer.email_address import EmailAddress, InvalidEmailError, parse_new_email
from issuer.errors import EmailTakenError, FieldFault, InvalidFieldsError
from issuer.passwords.hash_queue import Priority
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.telemetry.metrics import Metrics

_log = structlog.get_logger(__name__)


async def _unlimited(_: RequestContext) -> None:
    """An operator may create any number of accounts."""


class Registrar:
    """Creates accounts.

    Args:
        store: where accounts are.
        passwords: which hashes.
        policy: which judges new passwords.
        metrics: where registrations are counted.
        now: the time.
        new_id: a fresh random UUID.
        admit: raises TooManyAttemptsError when this client IP has registered too often.
    """

    def __init__(
        self,
        store: AccountStore,
        passwords: PasswordHasher,
        policy: PasswordPolicy,
        metrics: Metrics,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        admit: Callable[[RequestContext], Awaitable[None]] = _unlimited,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._policy = policy
        self._metrics = metrics
        self._now = now
        self._new_id = new_id
        self._admit = admit

    async def register(self, email: str, password: str, context: RequestContext) -> Account:
        """Create an account.

        Raises:
            InvalidFieldsError: the email or the password is not acceptable.
            TooManyAttemptsError: this client has asked too often.
            EmailTakenError: there is an account with this email.
            UnavailableError: not now.
        """
        registration = await self.prepare(email, password, context)
        if not await self._store.insert_account(registration, context):
            raise EmailTakenError
        self.count_registered(registration.account)
        return registration.account

    async def prepare(self, email: str, password: str, context: RequestContext) -> NewAccount:
        """Check, limit and hash: all of a registration but the insertion, and the same whoever has the email.

        Raises:
            InvalidFieldsError: the email or the password is not acceptable.
            TooManyAttemptsError: this client has asked too often.
            UnavailableError: not now.
        """
        address = self._acceptable(email, password)
        await self._admit(context)
        password_hash = await self._passwords.hash(password, queue_client_of(context, Priority.OTHER))
        return NewAccount(Account(self._new_id(), address.given, self._now()), address.key, password_hash)

    def count_registered(self, account: Account) -> None:
        """Count and log an account that was inserted."""
        self._metrics.registrations.inc()
        _log.info("account registered", account=str(account.id))

    def _acceptable(self, email: str, password: str) -> EmailAddress:
        address, faults = None, []
        try:
            address = parse_new_email(email)
        except InvalidEmailError as error:
            faults.append(FieldFault("email", str(error)))
        faults += [FieldFault("password", detail) for detail in self._policy.faults(password, address)]
        if address is None or faults:
            raise InvalidFieldsError(*faults)
        return address
