"""Limits on the mail to one recipient, since any client can request mail. The counters are in PostgreSQL. ADR 0091.

Only mails that are queued are counted. If all requests counted, an attacker could delay the next mail without end.
"""

import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from issuer.keys.mac_secrets import MacSecret
from issuer.tokens.one_time_token import TokenPurpose

_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(days=1)

WAITS: Final = tuple(min(_FIRST_WAIT * 2**number, _LONGEST_WAIT) for number in range(12))
"""Waits after the first mail, after the second, and so on; the last one repeats."""

QUIET: Final = timedelta(days=7)
"""Time without a mail after which the waits start again. An attacker gains little by such a pause: at the longest
wait, seven days allow seven mails, and after a pause twelve mails are allowed in a day and a half."""

NOTICE: Final = "password_changed"
"""Notices are limited too: where emails need not be verified, an attacker can register an account with the email of
another person and change its password all day."""

_LABEL: Final = "gatepass mail limit 1"
_KEY_BYTES: Final = 16


class RecipientKeys:
    """The keys of recipients' counters: keyed hashes, so that the database holds no email addresses of former users.

    They depend on the email and not on the account: to register a deleted account again resets no counter.

    Args:
        secret: returns the current MAC secret, which is not in the database.
    """

    def __init__(self, secret: Callable[[], MacSecret]) -> None:
        self._secret = secret

    def for_purpose(self, purpose: TokenPurpose, email_key: str) -> bytes:
        """Return the key of the counter of all mails to `email_key` with a token for `purpose`."""
        return self._key(purpose, email_key)

    def for_notice(self, email_key: str) -> bytes:
        """Return the key of the counter of notices to `email_key` about a changed password."""
        return self._key(NOTICE, email_key)

    def _key(self, kind: str, email_key: str) -> bytes:
        message = f"{_LABEL}\0{kind}\0{email_key}".encode()
        return hmac.digest(self._secret().value, message, "sha256")[:_KEY_BYTES]
