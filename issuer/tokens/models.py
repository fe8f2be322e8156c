"""The values of access tokens: the claims to sign, a signed token, and the claims of a verified one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from issuer.tokens.additional_claims import NO_CLAIM_TYPES, ClaimTypes, ClaimValues
from shared.claims import StatusReference

FIRST_PARTY_CLIENT: Final = "first-party"
"""The `client_id` of logins that name no client (RFC 9068 §2.2). It is not registered: settings define it."""

DEFAULT_SCOPE: Final = "profile"
DEFAULT_MAX_BYTES: Final = 2048
MAX_AUDIENCE_CHARACTERS: Final = 255


@dataclass(frozen=True, slots=True)
class TokenProfile:
    """The properties that all access tokens of one issuer share.

    Attributes:
        issuer: the `iss` claim.
        audience: that of the issuer's own endpoints.
        lifetime_seconds: the maximum lifetime.
        max_bytes: the size budget. A longer token is issued and logged: see `size.py`.
    """

    issuer: str
    audience: str
    lifetime_seconds: int = 600
    max_bytes: int = DEFAULT_MAX_BYTES
    claim_types: ClaimTypes = NO_CLAIM_TYPES


@dataclass(frozen=True, slots=True)
class PublicClient:
    """A client without credentials of its own, with which users log in: what its tokens may contain.

    Attributes:
        audiences: the allowed audiences; the first is the default.
        scope: the allowed scope tokens; None for all that the account has.
        claims: additional claims of its tokens, unless the account has its own value.
        security_version: increases with every change, so that a concurrent login cannot use the old state.
    """

    id: str
    audiences: tuple[str, ...]
    scope: frozenset[str] | None
    security_version: int = 0
    claims: ClaimValues = field(default_factory=dict)

    def allows(self, scope: frozenset[str]) -> bool:
        """Return whether the client may have all of these scope tokens."""
        return self.scope is None or scope <= self.scope

    def allowed(self, scope: Sequence[str]) -> list[str]:
        """Return those of the scope tokens that the client may have."""
        return [token for token in scope if self.scope is None or token in self.scope]


def default_client(audience: str) -> PublicClient:
    """Return the client of logins that name none: its tokens are for `audience`, with any scope."""
    return PublicClient(FIRST_PARTY_CLIENT, (audience,), None)


@dataclass(frozen=True, slots=True)
class AccessTokenClaims:
    """The claims of an access token to sign.

    Attributes:
        subject: the id of an account or a client.
        session_id: the session of a user; None for a token by client credentials, as `auth_time` is.
        auth_time: when the password was verified.
        client_id: the client that requested the token.
        scope: scope tokens with single spaces between them.
        status: the status list index that revokes the token.
        session_expires_at: when the session expires; the token expires no later.
        additional: additional claims as they are stored; the token gets those that are configured.
    """

    subject: str
    session_id: UUID | None
    auth_time: datetime | None
    client_id: str
    scope: str
    audience: str
    roles: tuple[str, ...] = ()
    status: StatusReference | None = None
    session_expires_at: datetime | None = None
    additional: ClaimValues = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignedAccessToken:
    """A signed access token. Its repr omits the token."""

    token: str = field(repr=False)
    expires_in: int
    scope: str


@dataclass(frozen=True, slots=True)
class VerifiedAccessToken:
    """The claims of a verified token. If `session_id` is None, `subject` is a client id, otherwise an account id."""

    subject: str
    session_id: UUID | None
    client_id: str
    scope: str
    jti: str
    issued_at: int
    expires_at: int
    audience: str
    status: StatusReference | None
    additional: ClaimValues = field(default_factory=dict)


def status_reference(issuer: str, list_id: int, idx: int) -> StatusReference:
    """Return the reference of a token to an index of a list of `issuer` (draft-ietf-oauth-status-list-20 §6.1)."""
    return StatusReference(issuer, status_list_uri(issuer, list_id), idx)


def status_list_uri(issuer: str, list_id: int) -> str:
    """Return the URI by which tokens refer to a list."""
    return f"{issuer.rstrip('/')}/status-lists/{list_id}"
