"""Access tokens (contract A): signed with the current key, and verified for the issuer's own endpoints.

PyJWT signs. Verification uses the parsers of `shared`, as the verifier does, so that no token has two readings. It
accepts only tokens of this issuer, in the form that it mints.
"""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt

from issuer.errors import InvalidTokenError
from issuer.keys.watcher import KeyWatcher
from issuer.tokens.models import AccessTokenClaims, SignedAccessToken, StatusReference, VerifiedAccessToken
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
    """Mints and verifies the access tokens of one issuer.

    Args:
        key_watcher: the signing and public keys.
        issuer: the `iss` claim.
        audience: the `aud` claim.
        life_seconds: the maximum lifetime.
        now: returns the current time.
        new_id: returns a random UUID.
        fraction: returns a random number in [0, 1).
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
        """Check that a token can be signed. Call it before a change that is lost without the token.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        _ = self._key_watcher.signing

    async def mint(self, claims: AccessTokenClaims) -> SignedAccessToken:
        """Sign an access token with `claims`.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        # Lifetimes vary by 5 %, so that clients that logged in together do not refresh together.
        life = self._life_seconds - int(self._life_seconds * _JITTER * self._fraction())
        if claims.ends_at is not None:
            life = max(1, min(life, int((claims.ends_at - self._now()).total_seconds())))
        key = self._key_watcher.signing
        # On the event loop: signing takes a quarter of a millisecond, and a thread would cost about as much.
        token = jwt.encode(self._members(claims, life), key.private, ALGORITHM, {"kid": key.kid, "typ": TOKEN_TYPE})
        if len(token) > MAX_ISSUED_BYTES:
            raise RuntimeError("access token exceeds MAX_ISSUED_BYTES")
        return SignedAccessToken(token, life, claims.scope)

    async def read(self, token: str) -> VerifiedAccessToken:
        """Verify one of our own tokens for our own audience. The session is not checked.

        Raises:
            InvalidTokenError: the token is invalid, expired, or not from this issuer.
        """
        verified = await self.read_any_audience(token)
        if verified.audience != self._audience:
            raise InvalidTokenError
        return verified

    async def read_any_audience(self, token: str) -> VerifiedAccessToken:
        """Verify one of our own tokens for any audience: for introspection and revocation, not for access.

        Raises:
            InvalidTokenError: the token is invalid, expired, or not from this issuer.
        """
        # The text may be anything: non-ASCII characters become `?`, which no token contains.
        jws = read_compact(token.encode("ascii", "replace"), MAX_ISSUED_BYTES)
        if isinstance(jws, JwsFault) or jws.header.members != _HEADER_MEMBERS:
            raise InvalidTokenError
        # RFC 8725 §3: algorithm and type are fixed by us; the header only selects the key.
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
        return _verified(claims)

    def _is_minted_here(self, members: JsonObject, claims: Claims) -> bool:
        """Check what this issuer always writes, and the time. There is no leeway: issuer and reader share a clock."""
        now = self._now().timestamp()
        return (
            claims.issuer == self._issuer
            and type(members["aud"]) is str
            and not claims.sender_constrained
            and members.get("nbf", 0) <= now < claims.expires_at
            and claims.expires_at - claims.issued_at <= MAX_LIFETIME_SECONDS
        )

    def _members(self, claims: AccessTokenClaims, life: int) -> dict[str, Any]:
        issued_at = int(self._now().timestamp())
        members: dict[str, Any] = {
            "iss": self._issuer,
            "sub": claims.subject,
            "aud": claims.audience or self._audience,
            "exp": issued_at + life,
            "iat": issued_at,
            "jti": base64url.encode(self._new_id().bytes),
            "client_id": claims.client_id,
            "scope": claims.scope,
        }
        if claims.auth_time is not None:
            members["auth_time"] = int(claims.auth_time.timestamp())
        if claims.session_id is not None:
            members["sid"] = str(claims.session_id)
        if claims.roles:
            members["roles"] = list(claims.roles)
        if claims.status is not None:
            members["status"] = {"status_list": {"idx": claims.status.idx, "uri": claims.status.uri}}
        return members


def room_for_grants(issuer: str, audience: str) -> int:
    """Return how many characters scope and roles may take in the token of a session (ADR 0039)."""
    return ACCOUNT_TOKEN_ROOM - 2 * len(issuer) - len(audience)


def grants_length(scope: str, roles: Sequence[str]) -> int:
    """Return how many characters scope and roles take in a token; both are ASCII."""
    return len(scope) + (len(json.dumps({"roles": roles})) if roles else 0)


def _verified(claims: Claims) -> VerifiedAccessToken:
    """Convert the parsed claims.

    Raises:
        InvalidTokenError: a UUID is not in canonical form, the only one that this module writes.
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
