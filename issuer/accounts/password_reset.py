"""Password reset by mail: sends a token, and accepts it with a new password."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from issuer.accounts.authentication import queue_client_of
from issuer.accounts.input_checks import check_new_password
from issuer.accounts.mail_requests import request_mail
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.audit.events import AuditEventKind, RevocationReason
from issuer.context import RequestContext
from issuer.errors import InvalidOneTimeTokenError
from issuer.mail.templates import Template
from issuer.passwords.hash_queue import Priority
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.throttling.models import LimitedAction
from issuer.throttling.throttle import Throttle
from issuer.tokens.one_time_token import TokenPurpose, hash_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PasswordReset:
    """The password reset, for users who can read the account's mail.

    Attributes:
        throttle: limits resets and requests for mail per network; its login counters are reset with the password.
        on_revoked: called with the number of sessions that a reset revoked.
    """

    store: SelfServiceStore
    passwords: PasswordHasher
    policy: PasswordPolicy
    throttle: Throttle
    on_revoked: Callable[[RevocationReason, int], None]
    now: Callable[[], datetime]

    async def request(self, email: str, context: RequestContext) -> None:
        """Send a mail with a token if there is an account; reveal nothing about the account.

        Raises:
            InvalidFieldsError: this is not an email.
            TooManyAttemptsError: the rate limit of this network was reached.
            UnavailableError: the database is unavailable.
        """
        kind = AuditEventKind.PASSWORD_RESET_REQUESTED
        await request_mail(self.store, self.throttle, email, Template.RESET_PASSWORD, kind, self.now(), context)

    async def reset(self, token: str, password: str, context: RequestContext) -> None:
        """Set a new password for the token's account and revoke every session.

        The token is looked up first, so that an invalid one costs no hash. It is consumed last, in the statement that
        sets the password: so only one of several parallel resets succeeds, and a rejected password leaves the token
        valid.

        Raises:
            InvalidOneTimeTokenError: the token is invalid, used or expired.
            TooManyAttemptsError: the rate limit of this network was reached.
            InvalidFieldsError: the password is not acceptable.
            UnavailableError: the database or the hash queue is unavailable.
        """
        token_hash = hash_of(token, TokenPurpose.RESET_PASSWORD)
        if token_hash is None:
            raise InvalidOneTimeTokenError
        await self.throttle.admit(LimitedAction.RESET, context)
        account = await self.store.find_reset_account(token_hash, self.now())
        if account is None:
            raise InvalidOneTimeTokenError
        check_new_password(self.policy, "password", password, account.email)
        password_hash = await self.passwords.hash(password, queue_client_of(context, Priority.OTHER))
        done = await self.store.reset_password(token_hash, password_hash, self.now(), context)
        if done is None:
            raise InvalidOneTimeTokenError
        email_key, revoked = done
        self.on_revoked(RevocationReason.PASSWORD_RESET, revoked)
        _log.info("password_reset", account=str(account.id))
        await self.throttle.reset(email_key, context)
