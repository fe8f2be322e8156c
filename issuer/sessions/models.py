"""The account that a session is created for."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


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
