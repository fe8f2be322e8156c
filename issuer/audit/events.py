"""What is written down for auditors: a closed list of events, and where the request behind one came from.

`store/audit.py` writes them, in the transaction of the change that they tell of. No event ever holds a
password, a token, an e-mail address or what a stranger wrote, except for the user agent of a session.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class EventKind(StrEnum):
    """What happened. The value is stored for ever: add, never rename."""

    ACCOUNT_REGISTERED = "account_registered"
    ACCOUNT_IMPORTED = "account_imported"
    ACCOUNT_UPDATED = "account_updated"
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_ENABLED = "account_enabled"
    ACCOUNT_DELETED = "account_deleted"
    EMAIL_VERIFIED = "email_verified"
    MAIL_REJECTED = "mail_rejected"
    MAIL_ABANDONED = "mail_abandoned"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a label
    PASSWORD_RESET_REQUESTED = "password_reset_requested"  # noqa: S105 - a label
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a label
    PASSWORD_DISABLED = "password_disabled"  # noqa: S105 - a label
    LOGIN_ACCEPTED = "login_accepted"
    LOGIN_REFUSED = "login_refused"
    SESSION_ENDED = "session_ended"
    REFRESH_REUSED = "refresh_reused"
    REFRESH_FROM_THE_FUTURE = "refresh_from_the_future"
    EVERYTHING_REVOKED = "everything_revoked"
    CLIENT_CREATED = "client_created"
    CLIENT_UPDATED = "client_updated"
    CLIENT_DISABLED = "client_disabled"
    CLIENT_ENABLED = "client_enabled"
    CLIENT_TOKENS_REVOKED = "client_tokens_revoked"
    CLIENT_DELETED = "client_deleted"
    CLIENT_REFUSED = "client_refused"


class EndReason(StrEnum):
    """Why a session ended. Stored with it and told in its event."""

    LOGOUT = "logout"
    ENDED_BY_OWNER = "ended_by_owner"
    REUSED = "reused"
    SESSION_LIMIT = "session_limit"
    REVOKED = "revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a label
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a label
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_DELETED = "account_deleted"
    ADMINISTRATOR = "administrator"


def _stays() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change came from.

    Attributes:
        actor: `self` for the account's owner, `client` for a machine, `operator` for the command line,
            `issuer` for what it does by itself.
        address: of the client behind all proxies that we trust; None for the command line.
        user_agent: as the client wrote it, cut to 512 bytes.
        request_id: under which the request was logged.
        has_left: whether nobody waits for the answer any more.
    """

    actor: str
    address: str | None = None
    user_agent: str | None = field(default=None, repr=False)
    request_id: str | None = None
    has_left: Callable[[], bool] = field(default=_stays, repr=False, compare=False)


OPERATOR = Origin("operator")
"""A command of the operator."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, before it has its place in a chain. `detail` holds closed labels and counts only."""

    kind: EventKind
    origin: Origin
    user_id: UUID | None = None
    session_id: UUID | None = None
    client_id: str | None = None
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)
