"""The values of sessions: rows in and out of the store, limits, and the tokens of a login."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from uuid import UUID

from issuer.status_lists.models import StatusListEntry
from issuer.tokens.additional_claims import ClaimValues
from issuer.tokens.models import PublicClient

MAX_RETRIES: Final = 50
"""Maximum number of retries of one refresh token: enough for many tabs, far fewer than a client in a loop sends."""


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account as the database has it. Its repr omits the password hash."""

    id: UUID
    password_hash: str = field(repr=False)
    disabled_at: datetime | None
    email_verified_at: datetime | None
    password_disabled_at: datetime | None
    security_version: int
    scope: str
    roles: tuple[str, ...]
    claims: ClaimValues


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of sessions and refresh tokens.

    Attributes:
        idle: time without a refresh after which a session expires.
        absolute: age at which a session expires.
        retry: time after a refresh in which the used token gets the same successor again.
        per_account: the maximum number of sessions; a login beyond it revokes the oldest.
    """

    idle: timedelta
    absolute: timedelta
    retry: timedelta
    per_account: int


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to insert.

    Attributes:
        client_version: the `security_version` of the client when it was read.
        scope: the scope that the login is granted.
        scope_limited: whether the login requested this scope, so that the session never gets more.
        audiences: those that the login requested; None for all of its client.
        idle_expires_at: when it expires without a refresh, no later than `expires_at`.
    """

    id: UUID
    client_id: str
    client_version: int
    scope: str
    scope_limited: bool
    audiences: tuple[str, ...] | None
    created_at: datetime
    idle_expires_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its user sees it."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip_address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """The sort key of a session in the list of its account: newest first, then by id."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session with the current state of its account and client.

    Attributes:
        client: None if it was disabled or deleted.
        login_scope: the scope that the login was granted.
        scope_limited: whether the login requested this scope, so that the session never gets more.
        audiences: those that the login requested; None for all of the client.
        scope: the scope of the account now.
        retries: how often the previous refresh token was presented again. Parallel requests do not count.
        retried_in_a_row: number of refreshes in a row, up to the latest, whose token was presented again.
        rotated_ago: time since the last refresh by the database clock, since the clocks of issuers differ.
        expires_at: the earlier of the idle and the absolute expiry.
    """

    id: UUID
    user_id: UUID
    client_id: str
    generation: int
    retries: int
    retried_in_a_row: int
    created_at: datetime
    rotated_ago: timedelta
    expires_at: datetime
    revoked_at: datetime | None
    disabled_at: datetime | None
    client: PublicClient | None
    login_scope: str
    scope_limited: bool
    audiences: tuple[str, ...] | None
    scope: str
    roles: tuple[str, ...]
    claims: ClaimValues
    index: StatusListEntry


@dataclass(frozen=True, slots=True)
class TokenPair:
    """The access and refresh token of a login or refresh. Its repr omits both.

    Attributes:
        expires_in: lifetime of the access token in seconds.
        session_expires_in: seconds until the session expires, unless it is refreshed.
        scope: of the access token.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    session_expires_in: int
    scope: str


class InsertResult(Enum):
    """The result of inserting a session."""

    INSERTED = "inserted"
    BEYOND_LIMIT = "beyond_limit"
    ACCOUNT_CHANGED = "account_changed"
    CLIENT_CHANGED = "client_changed"
    INDEX_TAKEN = "index_taken"
    RATE_LIMITED = "rate_limited"
