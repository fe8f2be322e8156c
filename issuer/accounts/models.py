"""The values of accounts: what stores return and use cases exchange."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from issuer.email_address import EmailAddress
from issuer.sessions.models import StoredAccount
from issuer.throttling.models import CounterIncrement
from issuer.tokens.additional_claims import ClaimValues


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its user sees it."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AuthenticatedAccount:
    """An account whose password was verified.

    Attributes:
        account: as it was before the hash.
        limits: counters that are checked again when the session is created, which resets the first.
    """

    account: StoredAccount
    limits: tuple[CounterIncrement, ...]


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """An account as an operator sees it: everything except the password hash."""

    id: UUID
    email: str
    created_at: datetime
    email_verified_at: datetime | None
    password_changed_at: datetime | None
    password_disabled_at: datetime | None
    disabled_at: datetime | None
    scope: str
    roles: tuple[str, ...]
    claims: ClaimValues


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as an operator sees it, active or not."""

    id: UUID
    user_id: UUID
    client_id: str
    created_at: datetime
    rotated_at: datetime
    idle_expires_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revocation_reason: str | None
    ip_address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class ImportedAccount:
    """An account of another system, checked."""

    id: UUID
    email: EmailAddress
    password_hash: str = field(repr=False)
    created_at: datetime
    email_verified_at: datetime | None
    scope: str
    roles: tuple[str, ...]
    claims: ClaimValues
