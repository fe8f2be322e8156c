"""Help for users who cannot log in: an operator sets a new password or unlocks the account."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from issuer.accounts.administration import existing
from issuer.accounts.administration_store import AdministrationStore
from issuer.accounts.authentication import queue_client_of
from issuer.accounts.input_checks import check_new_password
from issuer.context import OPERATOR
from issuer.email_address import parse_email
from issuer.mail.limits import RecipientKeys
from issuer.passwords.hash_queue import Priority
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.throttling.throttle import Throttle


@dataclass(frozen=True, slots=True)
class PasswordAdministration:
    """Help for users who have failed to log in too often, or do not know their password any more.

    Attributes:
        recipients: names the counters of mails; None if no mail server is configured, so that no notice is sent.
    """

    store: AdministrationStore
    passwords: PasswordHasher
    policy: PasswordPolicy
    throttle: Throttle
    recipients: RecipientKeys | None
    now: Callable[[], datetime]

    async def set_password(self, account_id: UUID, password: str) -> int:
        """Set a password, revoke every session and clear the login counters; return the number of sessions.

        Raises:
            AccountNotFoundError: there is no such account.
            InvalidFieldsError: the password is not acceptable.
        """
        email = existing(await self.store.find_record(account_id)).email
        check_new_password(self.policy, "password", password, email)
        email_key = parse_email(email).key
        password_hash = await self.passwords.hash(password, queue_client_of(OPERATOR, Priority.OTHER))
        revoked = existing(await self.store.set_password(account_id, password_hash, self.now(), self.recipients))
        await self.throttle.reset(email_key, OPERATOR)
        return revoked

    async def unlock(self, account_id: UUID) -> bool:
        """Clear the login counters, and enable the password if they disabled it; return whether they had.

        Counters of the account in combination with one network are not cleared: the database does not know which
        networks these are. Such a counter delays logins from its network only, by 15 minutes at most, and restarts a
        day after its first failure.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        email_key = parse_email(existing(await self.store.find_record(account_id)).email).key
        enabled = await self.store.enable_password(account_id)
        await self.throttle.reset(email_key, OPERATOR)
        return enabled
