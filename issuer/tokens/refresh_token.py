"""Refresh tokens: signed counters.

The database holds only the number. What makes a token good is a MAC under a key that the database never sees, so a
copy of it forges nothing, and a token costs no row.

    gpr_ + base64url(version 1 | session id 16 | generation 8 | name of the MAC secret 4 | HMAC-SHA256, 25 of 32)

54 bytes fill 72 characters with no bit to spare, so each token has exactly one spelling. Writing is deterministic:
the successor of a token is the same whenever it is asked for. Pure; whether a token is still good is
`sessions.py`'s business.
"""

import base64
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

MAX_GENERATION: Final = 2**63 - 2
"""What the column holds, less one for the successor."""

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">B16sQ4s")
_MAC_BYTES: Final = 25
_TOKEN: Final = re.compile(r"gpr_([A-Za-z0-9_-]{72})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token says: which session, and how often it had been refreshed. No secret."""

    session_id: UUID
    generation: int

    @property
    def successor(self) -> "RefreshToken":
        """The token that a refresh with this one answers with."""
        return RefreshToken(self.session_id, self.generation + 1)


class RefreshTokens:
    """Writes and reads refresh tokens.

    Args:
        secrets: the MAC secrets of this moment, newest first. The newest writes; all of them read.
    """

    def __init__(self, secrets: Callable[[], Sequence[MacSecret]]) -> None:
        self._secrets = secrets

    def write(self, token: RefreshToken) -> str:
        """The one spelling of `token`, under the newest secret.

        Raises:
            NoSigningKeyError: there is no secret.
        """
        secrets = self._secrets()
        if not secrets:
            raise NoSigningKeyError
        secret = secrets[0]
        head = _HEAD.pack(_VERSION, token.session_id.bytes, token.generation, _name(secret))
        return "gpr_" + base64.urlsafe_b64encode(head + _mac(secret, head)).decode()

    def read(self, text: str) -> RefreshToken | None:
        """What `text` says, or None unless one of our secrets made it; any text has an answer.

        Raises:
            NoSigningKeyError: there is no secret. Nobody's token is bad for that: a client would forget it.
        """
        secrets = self._secrets()
        if not secrets:
            raise NoSigningKeyError
        found = _TOKEN.fullmatch(text)
        if found is None:
            return None
        data = base64.urlsafe_b64decode(found[1])
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
