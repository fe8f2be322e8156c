"""Email verification, password reset and change, account deletion.

A request that names an address reveals nothing: the same response, the same statement, and no sooner than a fixed
time after the request. Every invalid token gets the same response. Hashing is done before the transaction, and the
transaction checks again: a token is consumed, and the account still has the version that its password was checked at,
in the statement that changes it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog

from issuer.accounts.login import Account, Accounts, NewAccount, queue_client_of
from issuer.accounts.registration import Registrar
from issuer.audit.events import EndReason, EventKind
from issuer.context import RequestContext
from issuer.email_address import EmailAddress, InvalidEmailError, parse_email
from issuer.errors import (
    FieldFault,
    InvalidCredentialsError,
    InvalidFieldsError,
    InvalidOneTimeTokenError,
    StoreUnavailableError,
)
from issuer.mail.limits import RecipientKeys
from issuer.mail.templates import TEMPLATES, Template
from issuer.passwords.hash_queue import Priority
from issuer.passwords.hasher import PasswordHasher
from issuer.passwords.policy import MAX_LENGTH, PasswordPolicy, is_too_long
from issuer.throttling.login_limits import ShownSession
from issuer.throttling.throttle import LimitedAction, Throttle
from issuer.tokens.one_time_token import Purpose, hash_of

MIN_RESPONSE_SECONDS: Final = 0.1
"""Shortest time of a response about an address. A statement that finds nothing to write is faster by a flush of the
log to disk, and that alone would reveal who has an account."""

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The account that a one-time token opens."""

    id: UUID
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailRequest:
    """A mail that was requested for an address; it is sent if there is an account that it is for.

    Attributes:
        template: of the mail.
        now: the time of the request.
        limit: the key of the recipient's counter.
        kind: of the event that is recorded if a mail is queued; None for none.
    """

    template: Template
    now: datetime
    limit: bytes
    kind: EventKind | None

    @property
    def purpose(self) -> Purpose | None:
        """Return the purpose of the token in the mail."""
        return TEMPLATES[self.template].purpose


@dataclass(frozen=True, slots=True)
class ResetLimits:
    """Counters of mails to the owner of an account whose password is reset.

    Attributes:
        requests: starts again, since its owner has used a mail.
        notices: holds back the mail that tells of the reset.
    """

    requests: bytes
    notices: bytes


@dataclass(frozen=True, slots=True)
class PasswordChange:
    """A new password for an account whose current one was checked at `security_version`."""

    account_id: UUID
    security_version: int
    password_hash: str = field(repr=False)
    session_id: UUID


class RecoveryStore(Protocol):
    """What recovery needs of the database. Each method is one transaction."""

    async def insert_unverified(
        self, registration: NewAccount, verify_limit: bytes, reset_limit: bytes, context: RequestContext
    ) -> bool:
        """Add it with a mail to verify it, or queue a mail to the owner of the address and return False."""

    async def request_mail(self, email_key: str, request: MailRequest, context: RequestContext) -> None:
        """Queue the mail if there is an account that it is for and its limit allows it."""

    async def find_owner(self, token_hash: bytes, purpose: Purpose, now: datetime) -> TokenOwner | None:
        """Return the owner of a valid token; it stays valid."""

    async def verify_email(self, token_hash: bytes, now: datetime, context: RequestContext) -> bool:
        """Consume the token and mark its owner's address as verified, or say False."""

    async def reset_password(
        self,
        token_hash: bytes,
        password_hash: str,
        now: datetime,
        context: RequestContext,
        limits: ResetLimits | None,
    ) -> tuple[str, int] | None:
        """Consume the token, set the password, end every session; the owner's email_key and how many, or None."""

    async def change_password(
        self, change: PasswordChange, now: datetime, context: RequestContext, notice_limit: bytes | None
    ) -> int | None:
        """Set the password, end every session but the present; how many, or None if the account has moved on."""

    async def delete_account(
        self, account_id: UUID, security_version: int, now: datetime, context: RequestContext
    ) -> int | None:
        """End every session and delete the account; how many, or None if the account has moved on."""


class SessionsEnded(Protocol):
    """Whoever wants to hear that sessions ended in a transaction of ours."""

    def on_revoked(self, reason: EndReason, count: int) -> None:
        """So many have."""


class RegistrationByMail:
    """NewAccount of accounts that are opened by mail."""

    def __init__(self, store: RecoveryStore, registrar: Registrar, recipients: RecipientKeys) -> None:
        self._store = store
        self._registrar = registrar
        self._recipients = recipients

    async def register(self, email: str, password: str, context: RequestContext) -> None:
        """Create an account that is opened by mail, or mail the owner of the address; reveal nothing of which.

        Raises:
            InvalidFieldsError: the address or the password is not acceptable.
            TooManyAttemptsError: the rate limit of this client IP was reached.
            UnavailableError: the database or the hash queue is unavailable.
        """
        registration = await self._registrar.prepare(email, password, context)
        verify_limit, reset_limit = (
            self._recipients.for_purpose(purpose, registration.email_key)
            for purpose in (Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD)
        )
        if await _pad_to_minimum(self._store.insert_unverified(registration, verify_limit, reset_limit, context)):
            self._registrar.count_registered(registration.account)


class Recovery:
    """Email verification, password reset and change, account deletion.

    Args:
        store: the accounts in the database.
        accounts: checks passwords.
        sessions: is told how many sessions were revoked.
        passwords: hashes new passwords.
        policy: accepts or rejects new passwords.
        throttle: limits requests, and resets failed logins after a password reset.
        recipients: names the counters of mails; None where no mail leaves and so none is queued.
        now: returns the time.
    """

    def __init__(
        self,
        store: RecoveryStore,
        accounts: Accounts,
        sessions: SessionsEnded,
        passwords: PasswordHasher,
        policy: PasswordPolicy,
        throttle: Throttle,
        recipients: RecipientKeys | None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._policy = policy
        self._throttle = throttle
        self._recipients = recipients
        self._now = now

    async def forgot_password(self, email: str, context: RequestContext) -> None:
        """Send a mail to set a new password if there is an account; reveal nothing of that.

        Raises:
            InvalidFieldsError: this is not an address.
            TooManyAttemptsError: the rate limit of this client IP was reached.
            UnavailableError: the database or the hash queue is unavailable.
        """
        await self._request(email, Template.RESET_PASSWORD, EventKind.PASSWORD_RESET_REQUESTED, context)

    async def resend_verification(self, email: str, context: RequestContext) -> None:
        """Send another mail to verify the address if it is not verified; reveal nothing of that.

        Raises:
            InvalidFieldsError: this is not an address.
            TooManyAttemptsError: the rate limit of this client IP was reached.
            UnavailableError: the database or the hash queue is unavailable.
        """
        await self._request(email, Template.VERIFY_EMAIL, None, context)

    async def verify_email(self, token: str, context: RequestContext) -> None:
        """Mark the address of the token's owner as verified.

        Raises:
            InvalidOneTimeTokenError: the token is invalid.
            UnavailableError: the database or the hash queue is unavailable.
        """
        token_hash = _readable(token, Purpose.VERIFY_EMAIL)
        if not await self._store.verify_email(token_hash, self._now(), context):
            raise InvalidOneTimeTokenError

    async def reset_password(self, token: str, password: str, context: RequestContext) -> None:
        """Set a new password for the token's owner and revoke every session.

        The token is looked up first, so that an invalid one costs no hash, and consumed last, so that of any number
        of parallel resets one succeeds and a rejected password leaves the token valid.

        Raises:
            InvalidOneTimeTokenError: the token is invalid.
            TooManyAttemptsError: the rate limit of this client IP was reached.
            InvalidFieldsError: the password is not acceptable.
            UnavailableError: the database or the hash queue is unavailable.
        """
        token_hash = _readable(token, Purpose.RESET_PASSWORD)
        await self._throttle.admit(LimitedAction.RESET, context)
        owner = await self._store.find_owner(token_hash, Purpose.RESET_PASSWORD, self._now())
        if owner is None:
            raise InvalidOneTimeTokenError
        self._check_policy("password", password, owner.email)
        password_hash = await self._passwords.hash(password, queue_client_of(context, Priority.OTHER))
        done = await self._store.reset_password(
            token_hash, password_hash, self._now(), context, self._reset_limits(owner.email)
        )
        if done is None:
            raise InvalidOneTimeTokenError
        email_key, ended = done
        self._sessions.on_revoked(EndReason.PASSWORD_RESET, ended)
        _log.info("password reset", account=str(owner.id))
        await self._forgive(email_key, context)

    async def change_password(
        self, account: Account, session_id: UUID, current: str, new: str, context: RequestContext
    ) -> None:
        """Set a new password for a user who knows the current one, and revoke every other session.

        Raises:
            InvalidFieldsError: the new password is not acceptable, or the present one beyond any length.
            TooManyAttemptsError: too many have failed.
            InvalidCredentialsError: the present one is wrong, or no longer the present one.
            UnavailableError: the database or the hash queue is unavailable.
        """
        if is_too_long(current):
            raise InvalidFieldsError(FieldFault("current_password", f"must have at most {MAX_LENGTH} characters"))
        self._check_policy("new_password", new, account.email)
        shown = ShownSession(session_id)
        known = await self._accounts.reauthenticate(account, current, context, shown)
        change = PasswordChange(
            account.id,
            known.security_version,
            await self._passwords.hash(new, queue_client_of(context, Priority.OTHER)),
            session_id,
        )
        ended = await self._store.change_password(change, self._now(), context, self._notice_limit(account.email))
        if ended is None:
            raise InvalidCredentialsError
        self._sessions.on_revoked(EndReason.PASSWORD_CHANGED, ended)
        _log.info("password changed", account=str(account.id))
        await self._forgive(_address(account.email).key, context, shown)

    async def delete_account(
        self, account: Account, session_id: UUID, password: str, context: RequestContext
    ) -> None:
        """Delete the account of a user who knows its password, with all its data.

        Raises:
            InvalidFieldsError: this is beyond any password's length.
            TooManyAttemptsError: too many have failed.
            InvalidCredentialsError: the password is wrong.
            UnavailableError: the database or the hash queue is unavailable.
        """
        known = await self._accounts.reauthenticate(account, password, context, ShownSession(session_id))
        ended = await self._store.delete_account(account.id, known.security_version, self._now(), context)
        if ended is None:
            raise InvalidCredentialsError
        self._sessions.on_revoked(EndReason.ACCOUNT_DELETED, ended)
        _log.info("account deleted", account=str(account.id))

    async def _request(self, email: str, template: Template, kind: EventKind | None, context: RequestContext) -> None:
        address, now = _address(email), self._now()
        await self._throttle.admit(LimitedAction.FORGOT, context)
        purpose = TEMPLATES[template].purpose
        if self._recipients is not None and purpose is not None:
            request = MailRequest(template, now, self._recipients.for_purpose(purpose, address.key), kind)
            await _pad_to_minimum(self._store.request_mail(address.key, request, context))

    def _reset_limits(self, email: str) -> ResetLimits | None:
        if self._recipients is None:
            return None
        key = _address(email).key
        return ResetLimits(
            self._recipients.for_purpose(Purpose.RESET_PASSWORD, key), self._recipients.for_notice(key)
        )

    def _notice_limit(self, email: str) -> bytes | None:
        return None if self._recipients is None else self._recipients.for_notice(_address(email).key)

    def _check_policy(self, member: str, password: str, email: str) -> None:
        faults = [FieldFault(member, detail) for detail in self._policy.faults(password, _address(email))]
        if faults:
            raise InvalidFieldsError(*faults)

    async def _forgive(self, email_key: str, context: RequestContext, shown: ShownSession | None = None) -> None:
        """Clear the counters of guesses at the old password. The new one is set, whatever becomes of this."""
        try:
            await self._throttle.forgive(email_key, context, shown)
        except StoreUnavailableError:
            _log.warning("failed logins were not forgiven")


async def _pad_to_minimum(work: Awaitable[_T]) -> _T:
    """Return the result of `work`, no sooner than `MIN_RESPONSE_SECONDS` from now."""
    outcome, _ = await asyncio.gather(work, asyncio.sleep(MIN_RESPONSE_SECONDS))
    return outcome


def _readable(token: str, purpose: Purpose) -> bytes:
    token_hash = hash_of(token, purpose)
    if token_hash is None:
        raise InvalidOneTimeTokenError
    return token_hash


def _address(email: str) -> EmailAddress:
    try:
        return parse_email(email)
    except InvalidEmailError as error:
        raise InvalidFieldsError(FieldFault("email", str(error))) from error
