"""Access tokens, contract A: minted with the current key, and read back where the issuer itself is asked.

PyJWT signs. Tokens are read as the verifier reads them, by `shared`, so that none has two readings. What gateways
ask is decided by the verifier; this module serves the issuer's own endpoints alone, knows only its own keys, and
accepts a token only in the form that it mints.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt

from issuer.errors import InvalidTokenError
from issuer.keys.watcher import KeyWatcher
from issuer.tokens.models import AccessTokenClaims, IssuedToken, StatusReference, VerifiedAccessToken
from shared import base64url
from shared.access_token import ALGORITHM, MAX_ISSUED_BYTES, MAX_LIFETIME_SECONDS, TOKEN_TYPE
from shared.claims import Claims, InvalidClaimsError, read_claims
from shared.jws import JwsFault, read_compact
from shared.strict_json import JsonObject, StrictJsonError, parse_open_object

ACCOUNT_TOKEN_ROOM: Final = 123
"""Characters that the token of a session has for what differs: the issuer's URL twice (`iss` and the URI of the
status list), audience, scope, and roles as JSON. 1024 bytes less 342 of signature, 111 of header and 2 dots leave 569
of base64url, which are 426 of JSON, of which the other claims take 303 with a list of five digits."""

_JITTER: Final = 0.05
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})


class AccessTokens:
    """Mints and reads the access tokens of one issuer.

    Args:
        key_watcher: where the keys come from.
        issuer: the `iss` claim.
        audience: the `aud` claim.
        life_seconds: the longest life.
        now: the clock.
        new_id: a fresh random UUID.
        fraction: a random number in [0, 1).
    """

    def __init__(
        self,
        key_watcher: KeyWatcher,
        issuer: str,
        audience: str,
        life_seconds: int,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        fraction: Callable[[], float],
    ) -> None:
        self._key_watcher = key_watcher
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
        _ = self._key_watcher.signing

    async def mint(self, grant: AccessTokenClaims) -> IssuedToken:
        """Sign an access token for `grant`.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        # Some lives are up to 5 % shorter, so that clients who logged in together do not refresh together.
        life = self._life_seconds - int(self._life_seconds * _JITTER * self._fraction())
        if grant.ends_at is not None:
            life = max(1, min(life, int((grant.ends_at - self._now()).total_seconds())))
        key = self._key_watcher.signing
        # On the event loop: a quarter of a millisecond, of which a thread and the way there and back would take most.
        token = jwt.encode(self._claims(grant, life), key.private, ALGORITHM, {"kid": key.kid, "typ": TOKEN_TYPE})
        if len(token) > MAX_ISSUED_BYTES:
            raise RuntimeError("a token outgrew what gateways are promised")
        return IssuedToken(token, life, grant.scope)

    async def read(self, token: str) -> VerifiedAccessToken:
        """What one of our own live tokens for us says. Whether its session still lives is not asked.

        Raises:
            InvalidTokenError: it is anything else.
        """
        bearer = await self.read_any_audience(token)
        if bearer.audience != self._audience:
            raise InvalidTokenError
        return bearer

    async def read_any_audience(self, token: str) -> VerifiedAccessToken:
        """What one of our own live tokens says, whatever its audience: to tell about it, not to obey it.

        Raises:
            InvalidTokenError: it is anything else.
        """
        # The text may be anything: what is not ASCII becomes `?`, which is in no token.
        jws = read_compact(token.encode("ascii", "replace"), MAX_ISSUED_BYTES)
        if isinstance(jws, JwsFault) or jws.header.members != _HEADER_MEMBERS:
            raise InvalidTokenError
        # RFC 8725 §3: algorithm and type are ours to state; the header only names the key.
        public = self._key_watcher.key_set.public_key(jws.header.kid)
        if public is None or jws.header.algorithm != ALGORITHM or jws.header.type != TOKEN_TYPE:
            raise InvalidTokenError
        if not jws.is_signed_by(public):
            raise InvalidTokenError
        try:
            members = parse_open_object(jws.payload)
            claims = read_claims(members)
        except (StrictJsonError, InvalidClaimsError):
            raise InvalidTokenError from None
        if not self._is_minted_here(members, claims):
            raise InvalidTokenError
        return _bearer(claims)

    def _is_minted_here(self, members: JsonObject, claims: Claims) -> bool:
        """Check what this issuer always writes, and the time. No leeway: it is the time of one machine."""
        now = self._now().timestamp()
        return (
            claims.issuer == self._issuer
            and type(members["aud"]) is str
            and not claims.sender_constrained
            and members.get("nbf", 0) <= now < claims.expires_at
            and claims.expires_at - claims.issued_at <= MAX_LIFETIME_SECONDS
        )

    def _claims(self, grant: AccessTokenClaims, life: int) -> dict[str, Any]:
        issued_at = int(self._now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer,
            "sub": grant.subject,
            "aud": grant.audience or self._audience,
            "exp": issued_at + life,
            "iat": issued_at,
            "jti": base64url.encode(self._new_id().bytes),
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


def _bearer(claims: Claims) -> VerifiedAccessToken:
    """Return what the claims say.

    Raises:
        InvalidTokenError: a UUID is not in its canonical spelling, the only one that this module writes.
    """
    session_id = _uuid(claims.session) if claims.session else None
    if session_id is not None:
        _uuid(claims.subject)
    return VerifiedAccessToken(
        claims.subject,
        session_id,
        claims.client_id,
        claims.scope,
        claims.token_id,
        int(claims.issued_at),
        int(claims.expires_at),
        claims.audience[0],
        StatusReference(claims.status.uri, claims.status.idx) if claims.status else None,
    )


def _uuid(text: str) -> UUID:
    try:
        read = UUID(text)
    except ValueError:
        raise InvalidTokenError from None
    if str(read) != text:
        raise InvalidTokenError
    return read
