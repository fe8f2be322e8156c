"""Limits on the mails that anyone can request for a recipient. The counters are in PostgreSQL. ADR 0091.

Requests that are not answered with a mail are not counted, or anyone could keep a recipient waiting without end.
"""

import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from issuer.tokens.one_time_token import TokenPurpose

_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(days=1)

WAITS: Final = tuple(min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) for number in range(12))
"""After the first mail, after the second, and so on; the last one repeats."""

QUIET: Final = timedelta(days=7)
"""Time without a mail after which the waits begin again. Stopping for that long gains a flood nothing: in seven days
it would have sent seven mails, and a new series begins with twelve."""

NOTICE: Final = "password_changed"
"""Anyone can register someone else's address where it need not be verified, and change that password all day."""

_LABEL: Final = "gatepass mail limit 1"
_KEY_BYTES: Final = 16


class RecipientKeys:
    """Names the counters of recipients without holding their addresses.

    By address and not by account: deleting an account and registering it again starts no new series.

    Args:
        secret: returns the secret of this moment, which the database never sees.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._secret = secret

    def for_purpose(self, purpose: TokenPurpose, email_key: str) -> bytes:
        """Return the counter of all mails to `email_key` that carry a token for `purpose`."""
        return self._key(purpose, email_key)

    def for_notice(self, email_key: str) -> bytes:
        """Return the counter of notices to `email_key` about a changed password."""
        return self._key(NOTICE, email_key)

    def _key(self, kind: str, email_key: str) -> bytes:
        message = f"{_LABEL}\0{kind}\0{email_key}".encode()
        return hmac.digest(self._secret(), message, "sha256")[:_KEY_BYTES]
