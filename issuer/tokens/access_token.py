"""Access tokens (contract A): signed with the current key, and verified for the issuer's own endpoints.

PyJWT signs. Verification uses the parsers of `shared`, as the verifier does, so that no token has two readings. It
accepts only tokens of this issuer, in the form that it mints.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt
import structlog

from issuer.errors import InvalidTokenError
from issuer.keys.watcher import KeyWatcher
from issuer.tokens.additional_claims import ClaimValues
from issuer.tokens.models import (
    AccessTokenClaims,
    SignedAccessToken,
    TokenProfile,
    VerifiedAccessToken,
)
from shared import base64url
from shared.access_token import ALGORITHM, MAX_LIFETIME_SECONDS, MAX_TOKEN_BYTES, TOKEN_TYPE
from shared.claims import Claims, InvalidClaimsError, read_claims
from shared.jws import JwsFault, read_compact
from shared.strict_json import JsonObject, StrictJsonError, parse_open_object

_JITTER: Final = 0.05
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ"})
_log = structlog.get_logger(__name__)


class AccessTokens:
    """The access tokens of one issuer, minted and verified.

    Args:
        fraction: returns a random number in [0, 1).
    """

    def __init__(
        self,
        key_watcher: KeyWatcher,
        profile: TokenProfile,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        fraction: Callable[[], float],
    ) -> None:
        self._key_watcher = key_watcher
        self._profile = profile
        self._now = now
        self._new_id = new_id
        self._fraction = fraction

    def require_key(self) -> None:
        """Check that a token can be signed. Call it before a change that is lost without the token.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        _ = self._key_watcher.signing

    def mint(self, claims: AccessTokenClaims) -> SignedAccessToken:
        """Sign an access token with `claims`.

        Raises:
            NoSigningKeyError: there is no current key.
        """
        # Lifetimes vary by 5 %, so that clients that logged in together do not refresh together.
        lifetime = self._profile.lifetime_seconds - int(self._profile.lifetime_seconds * _JITTER * self._fraction())
        if claims.session_expires_at is not None:
            lifetime = max(1, min(lifetime, int((claims.session_expires_at - self._now()).total_seconds())))
        key = self._key_watcher.signing
        if claims.additional:
            claims = replace(claims, additional=self._profile.claim_types.select(claims.additional))
        payload = token_payload(claims, self._profile.issuer, int(self._now().timestamp()), lifetime, self._new_id())
        # On the event loop: signing takes a quarter of a millisecond, and a thread would cost about as much.
        token = jwt.encode(payload, key.private, ALGORITHM, token_header(key.kid))
        if len(token) > self._profile.max_bytes:
            # The settings were changed after scope and roles were set: a smaller budget, a longer URL or audience.
            _log.warning("access_token_over_budget", subject=claims.subject, bytes=len(token))
        return SignedAccessToken(token, lifetime, claims.scope)

    def read(self, token: str) -> VerifiedAccessToken:
        """Verify one of our own tokens for our own endpoints. The session is not checked.

        Raises:
            InvalidTokenError: the token is invalid, expired, or not from this issuer.
        """
        verified = self.read_any_audience(token)
        if verified.audience != self._profile.audience:
            raise InvalidTokenError
        return verified

    def read_any_audience(self, token: str) -> VerifiedAccessToken:
        """Verify one of our own tokens for any audience: for introspection and revocation, not for access.

        Raises:
            InvalidTokenError: the token is invalid, expired, or not from this issuer.
        """
        # The text may be anything: non-ASCII characters become `?`, which no token contains.
        jws = read_compact(token.encode("ascii", "replace"), MAX_TOKEN_BYTES)
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
        return _verified(claims, self._profile.claim_types.select(members))

    def _is_minted_here(self, members: JsonObject, claims: Claims) -> bool:
        """Check the claims that this issuer always sets, and the times. No leeway, since issuers set these times."""
        now = self._now().timestamp()
        return (
            claims.issuer == self._profile.issuer
            and type(members["aud"]) is str
            and not claims.sender_constrained
            and members.get("nbf", 0) <= now < claims.expires_at
            and claims.expires_at - claims.issued_at <= MAX_LIFETIME_SECONDS
        )


def token_header(kid: str) -> dict[str, Any]:
    """Return the JOSE header of a token."""
    return {"alg": ALGORITHM, "kid": kid, "typ": TOKEN_TYPE}


def token_payload(
    claims: AccessTokenClaims, issuer: str, issued_at: int, lifetime: int, token_id: UUID
) -> dict[str, Any]:
    """Return the claims of a token (contract A). `issued_at` is in seconds since the epoch, `lifetime` in seconds."""
    members: dict[str, Any] = {
        **claims.additional,
        "iss": issuer,
        "sub": claims.subject,
        "aud": claims.audience,
        "exp": issued_at + lifetime,
        "iat": issued_at,
        "jti": base64url.encode(token_id.bytes),
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


def _verified(claims: Claims, additional: ClaimValues) -> VerifiedAccessToken:
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
        claims.status,
        additional,
    )


def _uuid(text: str) -> UUID:
    try:
        read = UUID(text)
    except ValueError:
        raise InvalidTokenError from None
    if str(read) != text:
        raise InvalidTokenError
    return read
