"""Audit events: a closed list of kinds.

`audit/store.py` writes each event in the transaction of the change that it records. No event holds a password,
a token or an email address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from issuer.context import RequestContext


class AuditEventKind(StrEnum):
    """Kinds of audit events, as they are stored.

    Releases up to 0.2.0 stored some kinds under other names. These stay in the events, which hash chains protect.
    """

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
    PASSWORD_ENABLED = "password_enabled"  # noqa: S105 - a label
    PASSWORD_SET = "password_set"  # noqa: S105 - a label
    LOGIN_SUCCEEDED = "login_succeeded"
    LOGIN_FAILED = "login_failed"
    SESSION_REVOKED = "session_revoked"
    REFRESH_TOKEN_REUSE_DETECTED = "refresh_token_reuse_detected"  # noqa: S105 - a label
    REFRESH_GENERATION_AHEAD = "refresh_generation_ahead"
    EVERYTHING_REVOKED = "everything_revoked"
    CLIENT_CREATED = "client_created"
    CLIENT_UPDATED = "client_updated"
    CLIENT_DISABLED = "client_disabled"
    CLIENT_ENABLED = "client_enabled"
    CLIENT_TOKENS_REVOKED = "client_tokens_revoked"
    CLIENT_DELETED = "client_deleted"
    CLIENT_AUTHENTICATION_FAILED = "client_authentication_failed"


class RevocationReason(StrEnum):
    """Reasons for the revocation of a session, stored in its row and in its event."""

    LOGOUT = "logout"
    REVOKED_BY_USER = "revoked_by_user"
    REFRESH_TOKEN_REUSE = "refresh_token_reuse"  # noqa: S105 - a label
    SESSION_LIMIT = "session_limit"
    REVOKED = "revoked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a label
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a label
    PASSWORD_SET = "password_set"  # noqa: S105 - a label
    ACCOUNT_DISABLED = "account_disabled"
    ACCOUNT_DELETED = "account_deleted"
    CLIENT_DISABLED = "client_disabled"
    REVOKED_BY_OPERATOR = "revoked_by_operator"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An event, before a trigger adds it to a chain. `detail` holds labels from closed sets, and counts."""

    kind: AuditEventKind
    context: RequestContext
    user_id: UUID | None = None
    session_id: UUID | None = None
    client_id: str | None = None
    detail: Mapping[str, str | int | bool] = field(default_factory=dict)
