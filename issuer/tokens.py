"""Access tokens, contract A: minted with the current key, and read back where the issuer itself is asked.

PyJWT signs. What the world's gateways ask is decided by the verifier, never here: this reading serves the
issuer's own endpoints alone, knows only its own keys, and takes a token only in the form it mints.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt

from issuer.errors import InvalidTokenError
from issuer.keys.live import LiveKeyring
from shared.access_token import ALGORITHM, MAX_ISSUED_BYTES, REQUIRED_CLAIMS, TOKEN_TYPE

FIRST_PARTY_CLIENT: Final = "first-party"
"""The `client_id` of tokens from our own login, where no OAuth client takes part (RFC 9068 §2.2)."""

DEFAULT_SCOPE: Final = "profile"
ACCOUNT_TOKEN_ROOM: Final = 123
"""Characters that the token of a session has for what differs: the issuer's URL twice (`iss` and the URI of the
status list), audience, scope, and roles as JSON. 1024 bytes less 342 of signature, 111 of header and 2 dots leave 569
of base64url, which are 426 of JSON, of which the other claims take 303 with a list of five digits."""

_JITTER: Final = 0.05
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class StatusReference:
    """A bit of a Token Status List (draft-ietf-oauth-status-list-20 §6.1)."""

    uri: str
    idx: int


@dataclass(frozen=True, slots=True)
class Grant:
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
class Bearer:
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


class AccessTokens:
    """Mints and reads the access tokens of one issuer.

    Args:
        keyring: where the keys come from.
        issuer: the `iss` claim.
        audience: the `aud` claim.
        life_seconds: the longest life.
        now: the clock.
        new_id: a fresh random UUID.
        fraction: a random number in [0, 1).
    """

    def __init__(
        self,
        keyring: LiveKeyring,
        issuer: str,
        audience: str,
        life_seconds: int,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        fraction: Callable[[], float],
    ) -> None:
        self._keyring = keyring
        self._issuer = issuer
        self._audience = audience
        self._life_seconds = life_seconds
        self._now = now
        self._new_id = new_id
        self._fraction = fraction

    def require_key(self) -> None:
        """Nothing, if a token could be signed: asked before a change that only a token can tell of.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        _ = self._keyring.signing

    async def mint(self, grant: Grant) -> IssuedToken:
        """Sign an access token for `grant`.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        # Some lives are up to 5 % shorter, so that clients who logged in together do not refresh together.
        life = self._life_seconds - int(self._life_seconds * _JITTER * self._fraction())
        if grant.ends_at is not None:
            life = max(1, min(life, int((grant.ends_at - self._now()).total_seconds())))
        key = self._keyring.signing
        # On the event loop: a quarter of a millisecond, of which a thread and the way there and back would take most.
        token = jwt.encode(self._claims(grant, life), key.private, ALGORITHM, {"kid": key.kid, "typ": TOKEN_TYPE})
        if len(token) > MAX_ISSUED_BYTES:
            raise RuntimeError("a token outgrew what gateways are promised")
        return IssuedToken(token, life, grant.scope)

    async def read(self, token: str) -> Bearer:
        """What one of our own live tokens for us says. Whether its session still lives is not asked.

        Raises:
            InvalidTokenError: it is anything else.
        """
        bearer = await self.read_for_anybody(token)
        if bearer.audience != self._audience:
            raise InvalidTokenError
        return bearer

    async def read_for_anybody(self, token: str) -> Bearer:
        """What one of our own live tokens says, whatever its audience: to tell about it, not to obey it.

        Raises:
            InvalidTokenError: it is anything else.
        """
        if len(token) > MAX_ISSUED_BYTES or not _COMPACT.fullmatch(token):
            raise InvalidTokenError
        try:
            header = jwt.get_unverified_header(token)
            claims = self._verified_claims(token, header)
            return _bearer(claims)
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, AttributeError):
            # Without its cause: PyJWT's messages quote claims.
            raise InvalidTokenError from None

    def _verified_claims(self, token: str, header: dict[str, Any]) -> dict[str, Any]:
        """RFC 8725 §3: algorithm and type are ours to state; the header only names the key."""
        kid = header.get("kid")
        public = self._keyring.ring.public_key(kid) if isinstance(kid, str) else None
        if public is None or header != {"alg": ALGORITHM, "kid": kid, "typ": TOKEN_TYPE}:
            raise InvalidTokenError
        claims: dict[str, Any] = jwt.decode(  # noqa: TID251 - reads back what this module has signed
            token,
            public,
            algorithms=[ALGORITHM],
            issuer=self._issuer,
            options={"require": list(REQUIRED_CLAIMS), "verify_aud": False, "verify_exp": False, "verify_iat": False},
        )
        if type(claims["aud"]) is not str:
            raise InvalidTokenError
        # Our own clock, so that a test can state the moment; no leeway, since it is one machine's time.
        if type(claims["exp"]) is not int or claims["exp"] <= self._now().timestamp():
            raise InvalidTokenError
        return claims

    def _claims(self, grant: Grant, life: int) -> dict[str, Any]:
        issued_at = int(self._now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": grant.subject,
            "aud": grant.audience or self._audience,
            "exp": issued_at + life,
            "iat": issued_at,
            "jti": base64.urlsafe_b64encode(self._new_id().bytes).rstrip(b"=").decode(),
            "client_id": grant.client_id,
            "scope": grant.scope,
        }
        if grant.auth_time is not None:
            claims["auth_time"] = int(grant.auth_time.timestamp())
        if grant.session_id is not None:
            claims["sid"] = str(grant.session_id)
        if grant.roles:
            claims["roles"] = list(grant.roles)
        if grant.status is not None:
            claims["status"] = {"status_list": {"idx": grant.status.idx, "uri": grant.status.uri}}
        return claims


def room_for_grants(issuer: str, audience: str) -> int:
    """Characters that the token of a session has for scope and roles (ADR 0039)."""
    return ACCOUNT_TOKEN_ROOM - 2 * len(issuer) - len(audience)


def grants_length(scope: str, roles: Sequence[str]) -> int:
    """Characters that scope and roles take in a token; both are ASCII."""
    return len(scope) + (len(json.dumps({"roles": roles})) if roles else 0)


def _bearer(claims: dict[str, Any]) -> Bearer:
    """Canonical UUIDs only: another spelling is not what this module wrote."""
    session_id = UUID(claims["sid"]) if "sid" in claims else None
    if session_id is not None and (str(session_id) != claims["sid"] or str(UUID(claims["sub"])) != claims["sub"]):
        raise InvalidTokenError
    return Bearer(
        claims["sub"],
        session_id,
        claims["client_id"],
        claims["scope"],
        claims["jti"],
        claims["iat"],
        claims["exp"],
        claims["aud"],
        StatusReference(**claims["status"]["status_list"]) if "status" in claims else None,
    )
