"""Email verification: sends another mail, and accepts the token in a mail."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from issuer.accounts.mail_requests import request_mail
from issuer.accounts.self_service_store import SelfServiceStore
from issuer.context import RequestContext
from issuer.errors import InvalidOneTimeTokenError
from issuer.mail.templates import Template
from issuer.throttling.throttle import Throttle
from issuer.tokens.one_time_token import TokenPurpose, hash_of


@dataclass(frozen=True, slots=True)
class EmailVerification:
    """The email verification of accounts."""

    store: SelfServiceStore
    throttle: Throttle
    now: Callable[[], datetime]

    async def resend(self, email: str, context: RequestContext) -> None:
        """Send another mail with a token if the account's email is not verified; reveal nothing about the account.

        Raises:
            InvalidFieldsError: this is not an email.
            TooManyAttemptsError: the rate limit of this network was reached.
            UnavailableError: the database is unavailable.
        """
        await request_mail(self.store, self.throttle, email, Template.VERIFY_EMAIL, None, self.now(), context)

    async def verify(self, token: str, context: RequestContext) -> None:
        """Mark the email of the token's account as verified.

        Raises:
            InvalidOneTimeTokenError: the token is invalid, used or expired.
            UnavailableError: the database is unavailable.
        """
        token_hash = hash_of(token, TokenPurpose.VERIFY_EMAIL)
        if token_hash is None or not await self.store.verify_email(token_hash, self.now(), context):
            raise InvalidOneTimeTokenError
