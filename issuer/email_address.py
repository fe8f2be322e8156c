"""Email addresses: the one normalised identity of an account. No DNS, no deliverability, no I/O.

Two spellings that reach one mailbox must be one account, and two that look alike must not be mistaken for
one another. So the local part is ASCII without quoting, the domain is compared as IDNA A-labels, and case is
ignored. Registration and lookup both use `key`: where a lookup folded more characters than the registration,
attackers took over accounts (GitHub's dotless i, CVE-2019-19844).

Every mail server can carry an ASCII local part without quoting; one outside ASCII needs SMTPUTF8 (RFC 6531) at each
server on the way.
"""

import re
from dataclasses import dataclass
from typing import Final

from email_validator import EmailNotValidError, validate_email

MAX_CHARACTERS: Final = 254
"""RFC 5321 §4.5.3.1.3, less the angle brackets."""

_ENCODED_WORD: Final = re.compile(r"=\?.*\?=")
"""An encoded word (RFC 2047 §2). Programs that decode it would read another email address."""

_RELAYED: Final = ("%", "!")
_SPECIAL_STARTS: Final = ("-", "/", "|")
"""Common mail servers reject local parts with these, as routing or as a command: by default, Exim rejects `%`, `!`
and a first `/` or `|`, and Postfix a first `-` (`allow_min_user`)."""


class InvalidEmailError(ValueError):
    """Not an email address that an account can have. The message says what is required and never quotes the input."""


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """A valid email address.

    Attributes:
        given: as the user wrote it.
        mailbox: the addr-spec for mail servers: ASCII, the local part as written.
        key: the identity: lower case, ASCII, compared byte by byte.
    """

    given: str
    mailbox: str
    key: str


def parse_new_email(text: str) -> EmailAddress:
    """Parse the email address of a new account, which common mail servers must accept.

    Existing and imported accounts may have other email addresses, since the email of an account cannot be changed.

    Raises:
        InvalidEmailError: it is not an email address, or such mail servers would reject it.
    """
    email = parse_email(text)
    local_part = email.key.rpartition("@")[0]
    if local_part.startswith(_SPECIAL_STARTS) or any(character in local_part for character in _RELAYED):
        raise InvalidEmailError("must not contain `%` or `!`, or begin with `-`, `/` or `|`: mail servers reject it")
    return email


def parse_email(text: str) -> EmailAddress:
    """Parse `text` as an addr-spec (RFC 5322 §3.4.1).

    Raises:
        InvalidEmailError: it is not an email address.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidEmailError(f"must have at most {MAX_CHARACTERS} characters")
    try:
        valid = validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise InvalidEmailError("must be an email address such as name@example.com") from error
    if _ENCODED_WORD.search(text):
        raise InvalidEmailError("must not contain `=?` followed by `?=`: mail programs would decode it")
    mailbox = f"{valid.ascii_local_part}@{valid.ascii_domain}"
    return EmailAddress(text, mailbox, mailbox.lower())
