"""The values of accounts: what stores return and use cases exchange."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from issuer.audit.events import AuditEventKind
from issuer.email_address import EmailAddress
from issuer.mail.templates import TEMPLATES, Template
from issuer.sessions.models import StoredAccount
from issuer.throttling.models import CounterIncrement
from issuer.tokens.additional_claims import ClaimValues
from issuer.tokens.one_time_token import TokenPurpose


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its user sees it."""

    id: UUID
    email: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to insert."""

    account: Account
    email_key: str
    password_hash: str = field(repr=False)


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
    ended_at: datetime | None
    end_reason: str | None
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


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """The account that a one-time token was issued for."""

    id: UUID
    email: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailRequest:
    """A request for mail to an email; the mail is queued if there is an account that qualifies.

    Attributes:
        template: of the mail.
        now: the time of the request.
        limit: the key of the recipient's counter.
        kind: of the event that is recorded if a mail is queued; None for none.
    """

    template: Template
    now: datetime
    limit: bytes
    kind: AuditEventKind | None

    @property
    def purpose(self) -> TokenPurpose | None:
        """Return the purpose of the token in the mail."""
        return TEMPLATES[self.template].purpose


@dataclass(frozen=True, slots=True)
class ResetLimits:
    """Counters of mails to the user whose password is reset.

    Attributes:
        requests: of mails with tokens; reset, since the user has used one.
        notices: of mails about changed passwords; may delay the mail about this reset.
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
