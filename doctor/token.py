"""The operator's good access token, and the bad ones that are made of it. It is never shown, not even by `repr`."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Self

from shared import base64url

MAX_TOKEN_BYTES: Final = 8192
_COMPACT: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+").fullmatch


class CredentialError(Exception):
    """Why this is no token to work with, in one line with the next step. Never quotes it."""


@dataclass(frozen=True)
class Credential:
    """A compact JWS (RFC 7515 §3.1), its claims read and not verified: that is what the gateway is asked to do."""

    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    claims: dict[str, Any] = field(repr=False)

    @property
    def token(self) -> bytes:
        """As it goes into `Authorization`."""
        return b".".join([self.header, self.payload, self.signature])

    @property
    def subject(self) -> str:
        """Whom it speaks for."""
        return str(self.claims["sub"])

    @classmethod
    def parse(cls, given: bytes, now: float) -> Self:
        """Read a token, with white space around it or not; `now` in seconds since the epoch.

        Raises:
            CredentialError: it is none, or has expired.
        """
        token = given.strip()
        if not token:
            raise CredentialError("no token: set GATEPASS_TOKEN, or give it on standard input")
        if len(token) > MAX_TOKEN_BYTES or not _COMPACT(token):
            raise CredentialError("not a token: give an access token alone, three parts with dots between them")
        header, payload, signature = token.split(b".")
        claims = _decode(payload)
        if not isinstance(claims, dict) or not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise CredentialError("not an access token of ours: it names no subject; log in for one")
        expires_at = claims.get("exp")
        if isinstance(expires_at, int | float) and expires_at <= now:
            raise CredentialError("the token has expired: log in for a fresh one")
        return cls(header, payload, signature, claims)

    def tampered(self) -> bytes:
        """For somebody else, under the same signature."""
        return b".".join([self.header, _encode(self.claims | {"sub": "gatepass-doctor"}), self.signature])

    def expired(self) -> bytes:
        """As if it had ended in 1970: who reads `exp` before the signature refuses it for that."""
        return b".".join([self.header, _encode(self.claims | {"exp": 1, "iat": 0}), self.signature])

    def unsigned(self) -> bytes:
        """`alg` none (RFC 8725 §3.1), without a signature."""
        return b".".join([_encode({"alg": "none", "typ": "at+jwt"}), self.payload, b""])

    def bare(self) -> bytes:
        """Its signature cut off."""
        return b".".join([self.header, self.payload, b""])


def _decode(segment: bytes) -> Any:
    try:
        return json.loads(base64url.decode(segment))
    except (ValueError, RecursionError):
        return None


def _encode(document: dict[str, Any]) -> bytes:
    return base64url.encode(json.dumps(document).encode()).encode("ascii")
