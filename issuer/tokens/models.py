"""The values of access tokens: the claims to sign, a signed token, and the claims of a verified one."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

FIRST_PARTY_CLIENT: Final = "first-party"
"""The `client_id` of tokens from our own login, where no OAuth client takes part (RFC 9068 §2.2)."""

DEFAULT_SCOPE: Final = "profile"


@dataclass(frozen=True, slots=True)
class StatusReference:
    """A bit of a Token Status List (draft-ietf-oauth-status-list-20 §6.1)."""

    uri: str
    idx: int


@dataclass(frozen=True, slots=True)
class AccessTokenClaims:
    """What a token says about its bearer.

    Attributes:
        subject: an account's id, or a client's.
        session_id: of a login; None for a machine, as `auth_time` is.
        auth_time: when the password was shown.
        client_id: who asked for the token.
        scope: scope tokens with single spaces between them.
        roles: may be empty.
        audience: None for the issuer's usual one.
        status: where the bit is that revokes the token.
        ends_at: when the session ends by itself; no token outlives it.
    """

    subject: str
    session_id: UUID | None
    auth_time: datetime | None
    client_id: str = FIRST_PARTY_CLIENT
    scope: str = DEFAULT_SCOPE
    roles: tuple[str, ...] = ()
    audience: str | None = None
    status: StatusReference | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A minted token. Its repr leaves the token out."""

    token: str = field(repr=False)
    expires_in: int
    scope: str


@dataclass(frozen=True, slots=True)
class VerifiedAccessToken:
    """What one of our live tokens says. `session_id` is None for a machine; else `subject` is an account's UUID."""

    subject: str
    session_id: UUID | None
    client_id: str
    scope: str
    jti: str
    issued_at: int
    expires_at: int
    audience: str
    status: StatusReference | None
