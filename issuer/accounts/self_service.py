"""Use cases of users on their own account: look it up, change its password, delete it.

A hash is computed before the transaction. The transaction checks that the account still has the version at which its
password was checked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from issuer.accounts.authentication import PasswordAuthenticator, queue_client_of
from issuer.accounts.input_checks import check_new_password, check_password_length, read_email
from issuer.accounts.models import Account
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.audit.events import RevocationReason
from issuer.context import RequestContext
from issuer.errors import InvalidCredentialsError, InvalidTokenError
from issuer.passwords.hash_queue import Priority
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.throttling.models import ShownSession
from issuer.throttling.throttle import Throttle

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SelfService:
    """Changes of accounts by their users, who must enter their password again.

    Attributes:
        throttle: its login counters are reset with the password.
        on_revoked: called with the number of sessions that a change revoked.
    """

    store: SelfServiceStore
    authenticator: PasswordAuthenticator
    passwords: PasswordHasher
    policy: PasswordPolicy
    throttle: Throttle
    on_revoked: Callable[[RevocationReason, int], None]
    now: Callable[[], datetime]

    async def account(self, account_id: UUID, session_id: UUID) -> Account:
        """Return the account of a session.

        Raises:
            InvalidTokenError: the account is deleted or disabled, or the session is expired or revoked.
            UnavailableError: the database is unavailable.
        """
        account = await self.store.find_account(account_id, session_id, self.now())
        if account is None:
            raise InvalidTokenError
        return account

    async def change_password(
        self, account: Account, session_id: UUID, current: str, new: str, context: RequestContext
    ) -> None:
        """Set a new password for a user who knows the current one, and revoke every other session.

        Raises:
            InvalidFieldsError: the new password is not acceptable, or the current one is too long.
            TooManyAttemptsError: too many attempts have failed.
            InvalidCredentialsError: the current password is wrong, or was changed meanwhile.
            UnavailableError: the database or the hash queue is unavailable.
        """
        check_password_length("current_password", current)
        check_new_password(self.policy, "new_password", new, account.email)
        shown, email_key = ShownSession(session_id), read_email(account.email).key
        known = await self.authenticator.reauthenticate(account, current, context, shown)
        password_hash = await self.passwords.hash(new, queue_client_of(context, Priority.OTHER))
        revoked = await self.store.change_password(
            account.id, known.security_version, password_hash, session_id, self.now(), context
        )
        if revoked is None:
            raise InvalidCredentialsError
        self.on_revoked(RevocationReason.PASSWORD_CHANGED, revoked)
        _log.info("password_changed", account=str(account.id))
        await self.throttle.reset(email_key, context, shown)

    async def delete_account(
        self, account: Account, session_id: UUID, password: str, context: RequestContext
    ) -> None:
        """Delete the account of a user who knows its password. Its audit events remain.

        Raises:
            InvalidFieldsError: the password is too long.
            TooManyAttemptsError: too many attempts have failed.
            InvalidCredentialsError: the password is wrong, or was changed meanwhile.
            UnavailableError: the database or the hash queue is unavailable.
        """
        known = await self.authenticator.reauthenticate(account, password, context, ShownSession(session_id))
        revoked = await self.store.delete_account(account.id, known.security_version, self.now(), context)
        if revoked is None:
            raise InvalidCredentialsError
        self.on_revoked(RevocationReason.ACCOUNT_DELETED, revoked)
        _log.info("account_deleted", account=str(account.id))
