"""The use cases of an account after its registration: verify the address, reset or change the password, delete.

Whoever asks by an address learns nothing: the same answer, the same statement, and no sooner than a fixed
time after the question. Whoever presents a token from a mail is told "no" in one way only. Hashing is done
before the transaction, and the transaction judges again: a token is consumed, and an account is still at the
version that its password was checked at, in the statement that changes it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeVar
from uuid import UUID

import structlog

from issuer.accounts import Account, Accounts, Credentials, Registration, asker_of
from issuer.addresses import AddressError, EmailAddress, parse_address
from issuer.admission import Urgency
from issuer.audit import EndReason, EventKind, Origin
from issuer.errors import (
    FieldFault,
    InvalidCredentialsError,
    InvalidFieldsError,
    InvalidOneTimeTokenError,
    StoreUnavailableError,
)
from issuer.mail.limits import RecipientKeys
from issuer.mail.one_time_tokens import Purpose, hash_of
from issuer.mail.templates import TEMPLATES, Template
from issuer.password_policy import MAX_LENGTH, PasswordPolicy, is_too_long
from issuer.passwords import Passwords
from issuer.throttle import Action, Throttle

EVEN_SECONDS: Final = 0.1
"""Answers to strangers' questions about an address leave no sooner. A statement that finds nothing to write is
faster by a flush of the log to disk, and that alone would tell who has an account."""

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """Whose account a one-time token opens."""

    id: UUID
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailRequest:
    """A mail that somebody asks for by an address; it is sent to whom it concerns, if there is such a person.

    Attributes:
        template: which.
        limit: the key of the recipient's counter.
        kind: of the event that is written when there is somebody; None for none.
    """

    template: Template
    now: datetime
    limit: bytes
    kind: EventKind | None

    @property
    def purpose(self) -> Purpose | None:
        """Of the token in the mail."""
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
    """A new password for an account whose present one was checked at `security_version`."""

    account_id: UUID
    security_version: int
    password_hash: str = field(repr=False)
    session_id: UUID


class RecoveryStore(Protocol):
    """What the use cases ask of `store/`. Each method is one transaction that keeps no connection."""

    async def insert_unverified(
        self, registration: Registration, verify_limit: bytes, reset_limit: bytes, origin: Origin
    ) -> bool:
        """Add it with a mail to verify it, or queue a mail to the owner of the address and return False."""

    async def request_mail(self, email_key: str, request: MailRequest, origin: Origin) -> None:
        """Queue it, if there is an account that it is for."""

    async def find_owner(self, token_hash: bytes, purpose: Purpose, now: datetime) -> TokenOwner | None:
        """Whose live token this is; it stays live."""

    async def verify_email(self, token_hash: bytes, now: datetime, origin: Origin) -> bool:
        """Consume the token and mark its owner's address as verified, or say False."""

    async def reset_password(
        self, token_hash: bytes, password_hash: str, now: datetime, origin: Origin, limits: ResetLimits | None
    ) -> tuple[str, int] | None:
        """Consume the token, set the password, end every session; the owner's email_key and how many, or None."""

    async def change_password(
        self, change: PasswordChange, now: datetime, origin: Origin, notice_limit: bytes | None
    ) -> int | None:
        """Set the password, end every session but the present; how many, or None if the account has moved on."""

    async def delete_account(
        self, account_id: UUID, security_version: int, now: datetime, origin: Origin
    ) -> int | None:
        """End every session and delete the account; how many, or None if the account has moved on."""


class SessionsEnded(Protocol):
    """Whoever wants to hear that sessions ended in a transaction of ours."""

    def tell_ended(self, reason: EndReason, count: int) -> None:
        """So many have."""


class Recovery:
    """Gives accounts back to their owners, and takes leave of them.

    Args:
        store: where accounts are.
        accounts: which knows how a password is checked.
        sessions: which hears how many of them ended.
        passwords: which hashes new ones.
        policy: which judges new ones.
        throttle: which limits requests, and forgets failed logins of before a new password.
        recipients: names the counters of mails; None where no mail leaves and so none is queued.
        now: the clock.
    """

    def __init__(
        self,
        store: RecoveryStore,
        accounts: Accounts,
        sessions: SessionsEnded,
        passwords: Passwords,
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

    async def register(self, email: str, password: str, origin: Origin) -> None:
        """Create an account that a mail has to open, or write to whoever has the address; say nothing of which.

        Raises:
            InvalidFieldsError: the address or the password is not acceptable.
            TooManyAttemptsError: this client has asked too often.
            UnavailableError: not now.
        """
        registration = await self._accounts.prepare(email, password, origin)
        assert self._recipients is not None, "the settings allow no verification without mail"
        verify_limit, reset_limit = (
            self._recipients.for_purpose(purpose, registration.email_key)
            for purpose in (Purpose.VERIFY_EMAIL, Purpose.RESET_PASSWORD)
        )
        if await _evenly(self._store.insert_unverified(registration, verify_limit, reset_limit, origin)):
            self._accounts.count_registered(registration.account)

    async def forgot_password(self, email: str, origin: Origin) -> None:
        """Send a mail that sets a new password, if there is an account; say nothing of whether.

        Raises:
            InvalidFieldsError: this is no address.
            TooManyAttemptsError: this client has asked too often.
            UnavailableError: not now.
        """
        await self._request(email, Template.RESET_PASSWORD, EventKind.PASSWORD_RESET_REQUESTED, origin)

    async def resend_verification(self, email: str, origin: Origin) -> None:
        """Send another mail that verifies the address, if it is still to be verified; say nothing of whether.

        Raises:
            InvalidFieldsError: this is no address.
            TooManyAttemptsError: this client has asked too often.
            UnavailableError: not now.
        """
        await self._request(email, Template.VERIFY_EMAIL, None, origin)

    async def verify_email(self, token: str, origin: Origin) -> None:
        """Take the address of the token's owner as verified.

        Raises:
            InvalidOneTimeTokenError: the token is not good.
            UnavailableError: not now.
        """
        token_hash = _readable(token, Purpose.VERIFY_EMAIL)
        if not await self._store.verify_email(token_hash, self._now(), origin):
            raise InvalidOneTimeTokenError

    async def reset_password(self, token: str, password: str, origin: Origin) -> None:
        """Set a new password for the token's owner; every session ends.

        The token is looked up first, so that rubbish costs no hash, and consumed last, so that of any number
        of resets at once one succeeds and a password that is refused leaves the token good.

        Raises:
            InvalidOneTimeTokenError: the token is not good.
            TooManyAttemptsError: this client has asked too often.
            InvalidFieldsError: the password is not acceptable.
            UnavailableError: not now.
        """
        token_hash = _readable(token, Purpose.RESET_PASSWORD)
        await self._throttle.admit(Action.RESET, origin)
        owner = await self._store.find_owner(token_hash, Purpose.RESET_PASSWORD, self._now())
        if owner is None:
            raise InvalidOneTimeTokenError
        self._check_policy("password", password, owner.email)
        password_hash = await self._passwords.hash(password, asker_of(origin, Urgency.OTHER))
        done = await self._store.reset_password(
            token_hash, password_hash, self._now(), origin, self._reset_limits(owner.email)
        )
        if done is None:
            raise InvalidOneTimeTokenError
        email_key, ended = done
        self._sessions.tell_ended(EndReason.PASSWORD_RESET, ended)
        _log.info("password reset", account=str(owner.id))
        await self._forgive(email_key, origin)

    async def change_password(
        self, account: Account, session_id: UUID, current: str, new: str, origin: Origin
    ) -> None:
        """Set a new password for who knows the present one; every session but the present ends.

        Raises:
            InvalidFieldsError: the new password is not acceptable, or the present one beyond any length.
            TooManyAttemptsError: too many have failed.
            InvalidCredentialsError: the present one is wrong, or no longer the present one.
            UnavailableError: not now.
        """
        if is_too_long(current):
            raise InvalidFieldsError(FieldFault("current_password", f"must have at most {MAX_LENGTH} characters"))
        self._check_policy("new_password", new, account.email)
        known = await self._reauthenticate(account, session_id, current, origin)
        change = PasswordChange(
            account.id,
            known.security_version,
            await self._passwords.hash(new, asker_of(origin, Urgency.OTHER)),
            session_id,
        )
        ended = await self._store.change_password(change, self._now(), origin, self._notice_limit(account.email))
        if ended is None:
            raise InvalidCredentialsError
        self._sessions.tell_ended(EndReason.PASSWORD_CHANGED, ended)
        _log.info("password changed", account=str(account.id))

    async def delete_account(self, account: Account, session_id: UUID, password: str, origin: Origin) -> None:
        """Delete the account of who knows its password, with all that is known of them.

        Raises:
            InvalidFieldsError: this is beyond any password's length.
            TooManyAttemptsError: too many have failed.
            InvalidCredentialsError: the password is wrong.
            UnavailableError: not now.
        """
        known = await self._reauthenticate(account, session_id, password, origin)
        ended = await self._store.delete_account(account.id, known.security_version, self._now(), origin)
        if ended is None:
            raise InvalidCredentialsError
        self._sessions.tell_ended(EndReason.ACCOUNT_DELETED, ended)
        _log.info("account deleted", account=str(account.id))

    async def _request(self, email: str, template: Template, kind: EventKind | None, origin: Origin) -> None:
        address, now = _address(email), self._now()
        await self._throttle.admit(Action.FORGOT, origin)
        purpose = TEMPLATES[template].purpose
        if self._recipients is not None and purpose is not None:
            request = MailRequest(template, now, self._recipients.for_purpose(purpose, address.key), kind)
            await _evenly(self._store.request_mail(address.key, request, origin))

    def _reset_limits(self, email: str) -> ResetLimits | None:
        if self._recipients is None:
            return None
        key = _address(email).key
        return ResetLimits(
            self._recipients.for_purpose(Purpose.RESET_PASSWORD, key), self._recipients.for_notice(key)
        )

    def _notice_limit(self, email: str) -> bytes | None:
        return None if self._recipients is None else self._recipients.for_notice(_address(email).key)

    async def _reauthenticate(self, account: Account, session_id: UUID, password: str, origin: Origin) -> Credentials:
        """By the way of every login, so that guesses with a stolen token are slowed down like all others."""
        known = await self._accounts.authenticate(account.email, password, origin, session_id)
        if known.id != account.id:
            raise InvalidCredentialsError
        return known

    def _check_policy(self, member: str, password: str, email: str) -> None:
        faults = [FieldFault(member, detail) for detail in self._policy.faults(password, _address(email))]
        if faults:
            raise InvalidFieldsError(*faults)

    async def _forgive(self, email_key: str, origin: Origin) -> None:
        """After the fact: the password is set, whatever becomes of this."""
        try:
            await self._throttle.forgive(email_key, origin)
        except StoreUnavailableError:
            _log.warning("failed logins were not forgiven")


async def _evenly(work: Awaitable[_T]) -> _T:
    """What comes of `work`, no sooner than `EVEN_SECONDS` from now."""
    outcome, _ = await asyncio.gather(work, asyncio.sleep(EVEN_SECONDS))
    return outcome


def _readable(token: str, purpose: Purpose) -> bytes:
    token_hash = hash_of(token, purpose)
    if token_hash is None:
        raise InvalidOneTimeTokenError
    return token_hash


def _address(email: str) -> EmailAddress:
    try:
        return parse_address(email)
    except AddressError as error:
        raise InvalidFieldsError(FieldFault("email", str(error))) from error
