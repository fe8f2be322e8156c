"""The values of sessions: rows in and out of the store, limits, and the tokens of a login."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Final
from uuid import UUID

from issuer.status_lists.models import StatusListEntry

MAX_RETRIES: Final = 50
"""Retries with one refresh token: many tabs on a slow machine, and far fewer than a client in a loop sends."""


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """A stored account, as a login reads it and a session is created for. Its repr leaves the hash out."""

    id: UUID
    password_hash: str
    disabled_at: datetime | None
    email_verified_at: datetime | None
    password_disabled_at: datetime | None
    security_version: int
    scope: str
    roles: tuple[str, ...]

    def __repr__(self) -> str:
        return f"StoredAccount(id={self.id})"


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of sessions and refresh tokens.

    Attributes:
        idle: of a session since it was last refreshed.
        absolute: of a session, however it is used.
        retry: after a refresh, during which the token that was used gets the same successor again.
        per_account: how many sessions an account has at most; a login beyond revokes the oldest.
    """

    idle: timedelta
    absolute: timedelta
    retry: timedelta
    per_account: int


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a login adds."""

    id: UUID
    client_id: str
    scope: str
    created_at: datetime
    idle_expires_at: datetime
    expires_at: datetime
    index: StatusListEntry


@dataclass(frozen=True, slots=True)
class Session:
    """What its owner may see of it."""

    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a session in the list of its account's: newest first, then by id."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session's row, and what its account has to say.

    Attributes:
        retries: how often the previous refresh token was presented again, parallel requests aside.
        retried_in_a_row: of the refreshes before, the last ones whose tokens were all presented again.
        rotated_ago: time since the last refresh, by the clock of the database: issuers have different clocks.
        expires_at: the earlier of idle and absolute.
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
    ended_at: datetime | None
    disabled_at: datetime | None
    scope: str
    roles: tuple[str, ...]
    index: StatusListEntry


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login or a refresh gives out. Its repr leaves the tokens out."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    scope: str


class InsertResult(Enum):
    """What became of a new session."""

    YES = "yes"
    BEYOND_LIMIT = "beyond_limit"
    REFUSED = "refused"
    INDEX_TAKEN = "index_taken"
    LIMITED = "limited"
