"""The operator's valid access token, and invalid tokens derived from it. None is ever printed, not even by `repr`."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Self

from doctor.errors import DoctorError
from shared import base64url
from shared.access_token import MAX_TOKEN_BYTES

_is_compact_jws: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+").fullmatch


@dataclass(frozen=True)
class AccessToken:
    """A compact JWS (RFC 7515 §3.1). Its claims are parsed but not verified: verifying is the gateway's task."""

    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    claims: dict[str, Any] = field(repr=False)

    @property
    def compact(self) -> bytes:
        """Return the compact serialization, as sent in `Authorization`."""
        return b".".join([self.header, self.payload, self.signature])

    @property
    def subject(self) -> str:
        """Return the `sub` claim."""
        return str(self.claims["sub"])

    @classmethod
    def parse(cls, data: bytes, now: float) -> Self:
        """Parse a token, ignoring surrounding white space; `now` is in seconds since the epoch.

        Raises:
            DoctorError: it is not an access token, or has expired.
        """
        token = data.strip()
        if not token:
            raise DoctorError("no token: set GATEPASS_TOKEN, or pass the token on standard input")
        if len(token) > MAX_TOKEN_BYTES or not _is_compact_jws(token):
            raise DoctorError("not a token: give the access token alone, three parts separated by dots")
        header, payload, signature = token.split(b".")
        claims = _decode(payload)
        if not isinstance(claims, dict) or not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise DoctorError("not an access token: it has no subject; log in to get one")
        expires_at = claims.get("exp")
        if isinstance(expires_at, int | float) and expires_at <= now:
            raise DoctorError("the token has expired: log in to get a new one")
        return cls(header, payload, signature, claims)

    def tampered(self) -> bytes:
        """Return the token with another subject and the original signature."""
        return b".".join([self.header, _encode(self.claims | {"sub": "gatepass-doctor"}), self.signature])

    def expired(self) -> bytes:
        """Return the token with an expiry in 1970 and the original signature."""
        return b".".join([self.header, _encode(self.claims | {"exp": 1, "iat": 0}), self.signature])

    def unsigned(self) -> bytes:
        """Return the token with `alg` none (RFC 8725 §3.1) and no signature."""
        return b".".join([_encode({"alg": "none", "typ": "at+jwt"}), self.payload, b""])

    def signature_stripped(self) -> bytes:
        """Return the token with its header unchanged and no signature."""
        return b".".join([self.header, self.payload, b""])


def _decode(segment: bytes) -> Any:
    try:
        return json.loads(base64url.decode(segment))
    except (ValueError, RecursionError):
        return None


def _encode(document: dict[str, Any]) -> bytes:
    return base64url.encode(json.dumps(document).encode()).encode("ascii")
