"""The use cases of accounts: register, authenticate, look up. No HTTP, no SQL, no clock of its own.

The order inside `authenticate` is the defence: look up, let the connection go, hash exactly once whatever
was found, and only then judge. Body, status and work are the same for every refusal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from issuer.addresses import AddressError, EmailAddress, parse_address
from issuer.audit import Origin
from issuer.errors import (
    EmailTakenError,
    FieldFault,
    InvalidCredentialsError,
    InvalidFieldsError,
    OverloadedError,
    StoreUnavailableError,
)
from issuer.metrics import Metrics
from issuer.password_policy import MAX_LENGTH, PasswordPolicy, is_too_long
from issuer.passwords import Passwords

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """What an account's owner may see of it."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is judged by. Its repr leaves the hash out."""

    id: UUID
    password_hash: str
    disabled_at: datetime | None
    security_version: int

    def __repr__(self) -> str:
        return f"Credentials(id={self.id})"


class AccountStore(Protocol):
    """What the use cases ask of `store/`. Each method is one round trip that keeps no connection."""

    def require(self) -> None:
        """Fail at once if the store is known to be away, before work that would be in vain."""

    async def insert_account(self, account: Account, email_key: str, password_hash: str, origin: Origin) -> bool:
        """Add it with its event, or say False if the key is taken: one atomic statement."""

    async def find_credentials(self, email_key: str) -> Credentials | None:
        """The credentials of the account with this key."""

    async def find_account(self, account_id: UUID) -> Account | None:
        """The account, unless it is disabled."""

    async def record_refused_login(self, email_key: str, origin: Origin) -> None:
        """Write the event of a failed login; the same work whether there is such an account."""

    async def replace_password_hash(self, account_id: UUID, old: str, new: str) -> None:
        """Compare and swap: nothing happens if the hash is no longer `old`."""


class Accounts:
    """Registers and authenticates people."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        policy: PasswordPolicy,
        metrics: Metrics,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._policy = policy
        self._metrics = metrics
        self._now = now
        self._new_id = new_id

    async def register(self, email: str, password: str, origin: Origin) -> Account:
        """Create an account.

        Raises:
            InvalidFieldsError: the address or the password is not acceptable.
            EmailTakenError: there is an account with this address.
            UnavailableError: not now.
        """
        address = self._acceptable(email, password)
        self._store.require()
        password_hash = await self._passwords.hash(password)
        account = Account(self._new_id(), address.given, self._now())
        if not await self._store.insert_account(account, address.key, password_hash, origin):
            raise EmailTakenError
        self._metrics.registrations.inc()
        _log.info("account registered", account=str(account.id))
        return account

    async def authenticate(self, email: str, password: str, origin: Origin) -> Credentials:
        """The account that `email` and `password` open.

        Raises:
            InvalidFieldsError: not an address or beyond any password's length; the same for every account.
            InvalidCredentialsError: for every other reason.
            UnavailableError: not now.
        """
        address = _readable(email, password)
        found = await self._store.find_credentials(address.key)
        verdict = await self._passwords.verify(found.password_hash if found else None, password)
        if found is None or not verdict.matches or found.disabled_at is not None:
            self._metrics.logins.labels("refused").inc()
            await self._store.record_refused_login(address.key, origin)
            raise InvalidCredentialsError
        if verdict.outdated:
            await self._upgrade(found, password)
        self._metrics.logins.labels("accepted").inc()
        _log.info("login accepted", account=str(found.id))
        return found

    async def find(self, account_id: UUID) -> Account | None:
        """The account, unless it is gone or disabled.

        Raises:
            UnavailableError: not now.
        """
        return await self._store.find_account(account_id)

    def _acceptable(self, email: str, password: str) -> EmailAddress:
        address, faults = None, []
        try:
            address = parse_address(email)
        except AddressError as error:
            faults.append(FieldFault("email", str(error)))
        faults += [FieldFault("password", detail) for detail in self._policy.faults(password, address)]
        if address is None or faults:
            raise InvalidFieldsError(*faults)
        return address

    async def _upgrade(self, found: Credentials, password: str) -> None:
        """Rehash at today's cost. A login never fails over it."""
        try:
            new = await self._passwords.hash(password)
            await self._store.replace_password_hash(found.id, found.password_hash, new)
        except (OverloadedError, StoreUnavailableError):
            _log.info("password hash upgrade postponed", account=str(found.id))


def _readable(email: str, password: str) -> EmailAddress:
    if is_too_long(password):
        raise InvalidFieldsError(FieldFault("password", f"must have at most {MAX_LENGTH} characters"))
    try:
        return parse_address(email)
    except AddressError as error:
        raise InvalidFieldsError(FieldFault("email", str(error))) from error
