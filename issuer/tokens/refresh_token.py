"""Refresh tokens: signed counters.

The database holds only the counter. A token is authenticated by a MAC under a key that the database never sees, so a
copy of the database forges no token, and a token needs no row.

    gpr_ + base64url(version 1 | session id 16 | generation 8 | name of the MAC secret 4 | HMAC-SHA256, 25 of 32)

54 bytes fill 72 characters with no unused bit, so each token has exactly one spelling. Writing is deterministic:
the successor of a token is always the same. Pure: `sessions` decides whether a token is still valid.
"""

import hashlib
import hmac
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from issuer.errors import NoSigningKeyError
from issuer.keys.mac_secrets import MacSecret
from shared import base64url

MAX_GENERATION: Final = 2**63 - 2
"""The maximum of the column, less one for the successor."""

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">B16sQ4s")
_MAC_BYTES: Final = 25
_TOKEN: Final = re.compile(r"gpr_([A-Za-z0-9_-]{72})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The contents of a refresh token: a session and its number of refreshes. Not secret."""

    session_id: UUID
    generation: int

    @property
    def successor(self) -> "RefreshToken":
        """The token that a refresh with this one returns."""
        return RefreshToken(self.session_id, self.generation + 1)


class RefreshTokens:
    """A codec of refresh tokens.

    Args:
        secrets: returns all MAC secrets, the current one first. The first signs; all of them verify.
    """

    def __init__(self, secrets: Callable[[], Sequence[MacSecret]]) -> None:
        self._secrets = secrets

    def write(self, token: RefreshToken) -> str:
        """Encode `token` with a MAC under the current secret.

        Raises:
            NoSigningKeyError: there is no MAC secret.
        """
        secrets = self._secrets()
        if not secrets:
            raise NoSigningKeyError
        secret = secrets[0]
        head = _HEAD.pack(_VERSION, token.session_id.bytes, token.generation, _name(secret))
        return "gpr_" + base64url.encode(head + _mac(secret, head))

    def read(self, text: str) -> RefreshToken | None:
        """Decode any text; return None unless it has a MAC under one of our secrets.

        Raises:
            NoSigningKeyError: there is no MAC secret. Not None, because a client would discard an invalid token.
        """
        secrets = self._secrets()
        if not secrets:
            raise NoSigningKeyError
        found = _TOKEN.fullmatch(text)
        if found is None:
            return None
        data = base64url.decode(found[1])
        head, mac = data[: _HEAD.size], data[_HEAD.size :]
        version, session_id, generation, name = _HEAD.unpack(head)
        secret = next((secret for secret in secrets if _name(secret) == name), None)
        if secret is None or not hmac.compare_digest(_mac(secret, head), mac):
            return None
        if version != _VERSION or generation > MAX_GENERATION:
            return None
        return RefreshToken(UUID(bytes=session_id), generation)


def _name(secret: MacSecret) -> bytes:
    return hashlib.sha256(secret.id.encode()).digest()[:4]


def _mac(secret: MacSecret, head: bytes) -> bytes:
    return hmac.digest(secret.refresh_token_key, head, "sha256")[:_MAC_BYTES]
