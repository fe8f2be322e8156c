"""Registration: checks email and password, and inserts the account. Queues a mail if emails must be verified."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog

from issuer.accounts.authentication import queue_client_of
from issuer.accounts.mail_requests import pad_to_minimum
from issuer.accounts.models import Account
from issuer.accounts.store import AccountStore
from issuer.context import RequestContext
from issuer.email_address import EmailAddress, InvalidEmailError, parse_new_email
from issuer.errors import EmailTakenError, FieldFault, InvalidFieldsError
from issuer.mail.limits import RecipientKeys
from issuer.passwords.hash_queue import Priority
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import LimitedAction
from issuer.throttling.throttle import Throttle

_log = structlog.get_logger(__name__)


class RegistrationService:
    """The registration of accounts.

    Args:
        throttle: limits registrations per network; None for operators, who have no limit.
        recipients: names the counters of mails, if emails must be verified before the first login; else None.
    """

    def __init__(
        self,
        store: AccountStore,
        passwords: PasswordHasher,
        policy: PasswordPolicy,
        metrics: Metrics,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        throttle: Throttle | None = None,
        recipients: RecipientKeys | None = None,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._policy = policy
        self._registrations = metrics.registrations
        self._now = now
        self._new_id = new_id
        self._throttle = throttle
        self._recipients = recipients

    async def register(self, email: str, password: str, context: RequestContext) -> Account | None:
        """Create an account and return it.

        Where emails must be verified, queue a mail and return None, whether or not the email had an account.

        Raises:
            InvalidFieldsError: the email or the password is not acceptable.
            TooManyAttemptsError: the rate limit of this network was reached.
            EmailTakenError: there is an account with this email, and emails need not be verified.
            UnavailableError: the database or the hash queue is unavailable.
        """
        parsed = self._check(email, password)
        if self._throttle is not None:
            await self._throttle.admit(LimitedAction.REGISTER, context)
        password_hash = await self._passwords.hash(password, queue_client_of(context, Priority.OTHER))
        account = Account(self._new_id(), parsed.given, self._now())
        if self._recipients is None:
            if not await self._store.insert_account(account, parsed.key, password_hash, context):
                raise EmailTakenError
            self._count(account)
            return account
        insertion = self._store.insert_unverified(account, parsed.key, password_hash, self._recipients, context)
        if await pad_to_minimum(insertion):
            self._count(account)
        return None

    def _count(self, account: Account) -> None:
        self._registrations.inc()
        _log.info("account_registered", account=str(account.id))

    def _check(self, email: str, password: str) -> EmailAddress:
        parsed, faults = None, []
        try:
            parsed = parse_new_email(email)
        except InvalidEmailError as error:
            faults.append(FieldFault("email", str(error)))
        faults += [FieldFault("password", detail) for detail in self._policy.faults(password, parsed)]
        if parsed is None or faults:
            raise InvalidFieldsError(*faults)
        return parsed
