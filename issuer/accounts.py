"""The use cases of accounts: register, authenticate, look up. No HTTP, no SQL, no clock of its own.

The order inside `authenticate` is the defence: turn away at the door who would wait too long, look up failures
and account at once, let the connection go, hash exactly once whatever was found, and only then judge. Body, status
and work are the same for every refusal.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from issuer.addresses import AddressError, EmailAddress, parse_address, parse_new_address
from issuer.admission import Asker, Urgency
from issuer.audit import Origin
from issuer.errors import (
    EmailTakenError,
    FieldFault,
    InvalidCredentialsError,
    InvalidFieldsError,
    OverloadedError,
    StoreUnavailableError,
    TooManyAttemptsError,
)
from issuer.metrics import Metrics
from issuer.password_policy import MAX_LENGTH, PasswordPolicy, is_too_long
from issuer.passwords import Passwords, Verdict
from issuer.throttle import Action, Attempt, Claim, Standing, Throttle, client_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """What an account's owner may see of it."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Registration:
    """An account that may be made. Its repr leaves the hash out."""

    account: Account
    email_key: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is judged by. Its repr leaves the hash out."""

    id: UUID
    password_hash: str
    disabled_at: datetime | None
    email_verified_at: datetime | None
    password_disabled_at: datetime | None
    security_version: int
    scope: str
    roles: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Credentials(id={self.id})"


class AccountStore(Protocol):
    """What the use cases ask of `store/`. Each method is one round trip that keeps no connection."""

    async def insert_account(self, registration: Registration, origin: Origin) -> bool:
        """Add it with its event, or say False if the key is taken: one atomic statement."""

    async def find_login(self, claim: Claim, now: datetime) -> tuple[Standing, Credentials | None]:
        """What a login is judged by, before the hash and after it; the same work for an account that there is not."""

    async def find_account(self, account_id: UUID, session_id: UUID, now: datetime) -> Account | None:
        """The account, unless it is disabled or this session of it is not live."""

    async def record_refused_login(self, email_key: str, origin: Origin) -> None:
        """Write the event of a failed login; the same work whether there is such an account."""

    async def replace_password_hash(self, account_id: UUID, old: str, new: str) -> None:
        """Compare and swap: nothing happens if the hash is no longer `old`."""

    async def disable_password(self, email_key: str, now: datetime, origin: Origin) -> None:
        """Let the account's password open nothing more; nothing happens if it does not, or there is no account."""


class Accounts:
    """Registers and authenticates people; with `verified_only`, only those whose address is verified."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        policy: PasswordPolicy,
        throttle: Throttle,
        metrics: Metrics,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        *,
        verified_only: bool = False,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._policy = policy
        self._throttle = throttle
        self._metrics = metrics
        self._now = now
        self._new_id = new_id
        self._upgrades: set[asyncio.Task[None]] = set()
        self._verified_only = verified_only
        for outcome in ("accepted", "refused", "throttled"):
            metrics.logins.labels(outcome)  # or the first of them would not be an increase

    async def register(self, email: str, password: str, origin: Origin) -> Account:
        """Create an account.

        Raises:
            InvalidFieldsError: the address or the password is not acceptable.
            TooManyAttemptsError: this client has asked too often.
            EmailTakenError: there is an account with this address.
            UnavailableError: not now.
        """
        registration = await self.prepare(email, password, origin)
        if not await self._store.insert_account(registration, origin):
            raise EmailTakenError
        self.count_registered(registration.account)
        return registration.account

    async def prepare(self, email: str, password: str, origin: Origin) -> Registration:
        """Judge and hash: all of a registration but the insertion, and the same whoever has the address.

        Raises:
            InvalidFieldsError: the address or the password is not acceptable.
            TooManyAttemptsError: this client has asked too often.
            UnavailableError: not now.
        """
        address = self._acceptable(email, password)
        await self._throttle.admit(Action.REGISTER, origin)
        password_hash = await self._passwords.hash(password, asker_of(origin, Urgency.OTHER))
        return Registration(Account(self._new_id(), address.given, self._now()), address.key, password_hash)

    def count_registered(self, account: Account) -> None:
        """Tell of an account that was inserted."""
        self._metrics.registrations.inc()
        _log.info("account registered", account=str(account.id))

    async def authenticate(
        self, email: str, password: str, origin: Origin, known_session: UUID | None = None
    ) -> Credentials:
        """The account that `email` and `password` open.

        Args:
            email: as the person wrote it.
            password: likewise.
            origin: of the request.
            known_session: of a refresh token that the request shows, if its MAC is ours.

        Raises:
            InvalidFieldsError: not an address or beyond any password's length; the same for every account.
            TooManyAttemptsError: too many have failed; the same for every account, existing or not.
            InvalidCredentialsError: for every other reason.
            UnavailableError: not now.
        """
        asker = asker_of(origin)
        self._passwords.require_turn(asker)
        address = _readable(email, password)
        claim = self._throttle.claim(address.key, origin, known_session)
        standing, found = await self._store.find_login(claim, self._now())
        attempt = self._admit(claim, standing)
        verdict = await self._passwords.verify(found.password_hash if found else None, password, asker)
        if found is None or not verdict.matches or not self._is_open(found, attempt):
            await self._refuse(address, attempt, origin)
            raise InvalidCredentialsError
        await self._throttle.count_success(attempt)
        await self._upgrade(found, verdict, password)
        self._metrics.logins.labels("accepted").inc()
        _log.info("login accepted", account=str(found.id))
        return found

    async def find(self, account_id: UUID, session_id: UUID) -> Account | None:
        """The account, unless it is gone or disabled or this session of it has ended.

        Raises:
            UnavailableError: not now.
        """
        return await self._store.find_account(account_id, session_id, self._now())

    def _is_open(self, found: Credentials, attempt: Attempt) -> bool:
        """A password that strangers have worn out still serves who is known."""
        verified = found.email_verified_at is not None or not self._verified_only
        return verified and found.disabled_at is None and (found.password_disabled_at is None or attempt.known)

    def _acceptable(self, email: str, password: str) -> EmailAddress:
        address, faults = None, []
        try:
            address = parse_new_address(email)
        except AddressError as error:
            faults.append(FieldFault("email", str(error)))
        faults += [FieldFault("password", detail) for detail in self._policy.faults(password, address)]
        if address is None or faults:
            raise InvalidFieldsError(*faults)
        return address

    def _admit(self, claim: Claim, standing: Standing) -> Attempt:
        try:
            return self._throttle.admit_login(claim, standing)
        except TooManyAttemptsError:
            self._metrics.logins.labels("throttled").inc()
            raise

    async def _refuse(self, address: EmailAddress, attempt: Attempt, origin: Origin) -> None:
        """Count and record it. The same statements for an account that exists and for one that does not."""
        self._metrics.logins.labels("refused").inc()
        await self._store.record_refused_login(address.key, origin)
        if await self._throttle.count_failure(attempt):
            await self._store.disable_password(address.key, self._now(), origin)

    async def _upgrade(self, found: Credentials, verdict: Verdict, password: str) -> None:
        """Store what the password is hashed to today. A login never fails over it, nor waits for a second hash."""
        if verdict.replacement is not None:
            await self._replace_hash(found, verdict.replacement)
        elif verdict.outdated:
            task = asyncio.create_task(self._rehash(found, password))
            self._upgrades.add(task)
            task.add_done_callback(self._upgrades.discard)

    async def _rehash(self, found: Credentials, password: str) -> None:
        try:
            new = await self._passwords.hash(password, Asker(urgency=Urgency.OTHER))
        except OverloadedError:
            _log.info("password hash upgrade postponed", account=str(found.id))
        else:
            await self._replace_hash(found, new)

    async def _replace_hash(self, found: Credentials, new: str) -> None:
        try:
            await self._store.replace_password_hash(found.id, found.password_hash, new)
        except StoreUnavailableError:
            _log.info("password hash upgrade postponed", account=str(found.id))


def asker_of(origin: Origin, urgency: Urgency = Urgency.LOGIN) -> Asker:
    """For whom a hash is computed, when a request from `origin` needs one."""
    return Asker(client_of(origin), origin.has_left, urgency)


def _readable(email: str, password: str) -> EmailAddress:
    if is_too_long(password):
        raise InvalidFieldsError(FieldFault("password", f"must have at most {MAX_LENGTH} characters"))
    try:
        return parse_address(email)
    except AddressError as error:
        raise InvalidFieldsError(FieldFault("email", str(error))) from error
