"""Access tokens, contract A: minted with the current key, and read back where the issuer itself is asked.

PyJWT signs. What the world's gateways ask is decided by the verifier, never here: this reading serves the
issuer's own endpoints alone, knows only its own keys, and takes a token only in the form it mints.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt

from issuer.errors import InvalidTokenError
from issuer.live_keyring import LiveKeyring
from shared.access_token import ALGORITHM, MAX_ISSUED_BYTES, REQUIRED_CLAIMS, TOKEN_TYPE

FIRST_PARTY_CLIENT: Final = "first-party"
"""The `client_id` of tokens from our own login, where no OAuth client takes part (RFC 9068 §2.2)."""

DEFAULT_SCOPE: Final = "profile"
_JITTER: Final = 0.05
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says about its bearer."""

    subject: UUID
    session_id: UUID
    auth_time: datetime
    client_id: str = FIRST_PARTY_CLIENT
    scope: str = DEFAULT_SCOPE


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A minted token. Its repr leaves the token out."""

    token: str = field(repr=False)
    expires_in: int
    scope: str


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

    async def mint(self, grant: Grant) -> IssuedToken:
        """Sign an access token for `grant`.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        # Some lives are up to 5 % shorter, so that clients who logged in together do not refresh together.
        life = self._life_seconds - int(self._life_seconds * _JITTER * self._fraction())
        key = self._keyring.signing
        # Off the event loop: an RSA-2048 signature is some 0.3 to 1 ms, in which others could be served.
        token = await asyncio.to_thread(
            jwt.encode,
            self._claims(grant, life),
            key.private,
            ALGORITHM,
            {"kid": key.kid, "typ": TOKEN_TYPE},
        )
        if len(token) > MAX_ISSUED_BYTES:
            raise RuntimeError("a token outgrew what gateways are promised")
        return IssuedToken(token, life, grant.scope)

    async def read(self, token: str) -> UUID:
        """The subject of one of our own live tokens.

        Raises:
            InvalidTokenError: it is anything else.
        """
        if len(token) > MAX_ISSUED_BYTES or not _COMPACT.fullmatch(token):
            raise InvalidTokenError
        try:
            header = jwt.get_unverified_header(token)
            claims = self._verified_claims(token, header)
            return UUID(claims["sub"])
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
            audience=self._audience,
            options={"require": list(REQUIRED_CLAIMS), "strict_aud": True, "verify_exp": False, "verify_iat": False},
        )
        # Our own clock, so that a test can state the moment; no leeway, since it is one machine's time.
        if type(claims["exp"]) is not int or claims["exp"] <= self._now().timestamp():
            raise InvalidTokenError
        return claims

    def _claims(self, grant: Grant, life: int) -> dict[str, Any]:
        issued_at = int(self._now().timestamp())
        return {
            "iss": self._issuer,
            "sub": str(grant.subject),
            "aud": self._audience,
            "exp": issued_at + life,
            "iat": issued_at,
            "jti": str(self._new_id()),
            "client_id": grant.client_id,
            "scope": grant.scope,
            "auth_time": int(grant.auth_time.timestamp()),
            "sid": str(grant.session_id),
        }
