"""One-time tokens, sent by email to prove control of a mailbox. No I/O, no clock.

256 random bits behind a prefix that secret scanners can recognise. Only the SHA-256 is ever stored: a random
token of this size needs no slow hash (ASVS 5.0 §6.5.2), and a database dump gives access to no account.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from shared import base64url

_RANDOM_BYTES: Final = 32
_BODY: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class TokenPurpose(StrEnum):
    """The only use of a token. The value is stored."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a label


PREFIXES: Final = {TokenPurpose.VERIFY_EMAIL: "gpv_", TokenPurpose.RESET_PASSWORD: "gpw_"}

LIFETIMES: Final = {
    # Changes no credential, and some users read such an email only the next morning.
    TokenPurpose.VERIFY_EMAIL: timedelta(hours=24),
    # Gives access to the account, so it is valid only for the time that it takes to read the email.
    TokenPurpose.RESET_PASSWORD: timedelta(minutes=60),
}
"""Counted from sending, so that time in the outbox does not shorten them."""

MAX_VALID: Final = 3
"""Valid tokens of one purpose per account, so that the user may use any of the latest emails."""


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """A new token. Its repr omits the text."""

    purpose: TokenPurpose
    text: str = field(repr=False)
    token_hash: bytes


def new_token(purpose: TokenPurpose, random_bytes: Callable[[int], bytes]) -> OneTimeToken:
    """Create a token for `purpose` from 32 bytes of `random_bytes`."""
    text = PREFIXES[purpose] + base64url.encode(random_bytes(_RANDOM_BYTES))
    return OneTimeToken(purpose, text, _sha256(text))


def hash_of(text: str, purpose: TokenPurpose) -> bytes | None:
    """Return the stored form of a token that was presented; None if it cannot be one for `purpose`."""
    prefix = PREFIXES[purpose]
    if not text.startswith(prefix) or not _BODY.fullmatch(text[len(prefix) :]):
        return None
    return _sha256(text)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()
