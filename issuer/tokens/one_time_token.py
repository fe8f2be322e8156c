"""One-time tokens: a mail carries one to prove that its reader has the mailbox. No I/O, no clock.

256 random bits behind a prefix that secret scanners can recognise. Only the SHA-256 is ever stored: a random
token of this size needs no slow hash (ASVS 5.0 §6.5.2), and a dump of the database opens no account.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

_RANDOM_BYTES: Final = 32
_BODY: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Purpose(StrEnum):
    """The only use of a token. The value is stored."""

    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a label


PREFIXES: Final = {Purpose.VERIFY_EMAIL: "gpv_", Purpose.RESET_PASSWORD: "gpw_"}

LIFETIMES: Final = {
    # Proves possession of the mailbox and changes no credential: people read such mail the next morning.
    Purpose.VERIFY_EMAIL: timedelta(hours=24),
    # Opens the account to anyone who holds it, so no longer than it takes to switch to the mail and back.
    Purpose.RESET_PASSWORD: timedelta(minutes=60),
}
"""Counted from the sending, so the time that a mail waited in the outbox does not shorten them."""


MAX_VALID: Final = 3
"""Tokens of one purpose that are valid for an account at a time, so that a person may use any of the last mails."""


@dataclass(frozen=True, slots=True)
class OneTimeToken:
    """A new token. Its repr omits the text."""

    purpose: Purpose
    text: str = field(repr=False)
    token_hash: bytes


def new_token(purpose: Purpose, random_bytes: Callable[[int], bytes]) -> OneTimeToken:
    """Make a token for `purpose` from 32 bytes of `random_bytes`."""
    body = base64.urlsafe_b64encode(random_bytes(_RANDOM_BYTES)).rstrip(b"=").decode("ascii")
    text = PREFIXES[purpose] + body
    return OneTimeToken(purpose, text, _sha256(text))


def hash_of(text: str, purpose: Purpose) -> bytes | None:
    """Return the stored form of a token that was presented; None if it cannot be one for `purpose`."""
    prefix = PREFIXES[purpose]
    if not text.startswith(prefix) or not _BODY.fullmatch(text[len(prefix) :]):
        return None
    return _sha256(text)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("ascii")).digest()
