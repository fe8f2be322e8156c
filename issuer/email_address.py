"""Email addresses: the one normalised identity of an account. No DNS, no deliverability, no I/O.

Two spellings that reach one mailbox must be one account, and two that look alike must not be mistaken for
one another: so the local part is ASCII without quoting, the domain is compared as IDNA A-labels, and case
counts nowhere. (GitHub's takeover by a dotless i and CVE-2019-19844 were a lookup that folded more than the
registration did: here both use `key`.)

An ASCII local part without quoting is also what every mail server on the way can carry: one outside ASCII needs
SMTPUTF8 (RFC 6531) at each of them.
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
"""Rejected by common mail servers as routing or as a command, for any recipient: the default ACL of Exim (`%`, `!`,
first `/` or `|`) and Postfix (`allow_min_user`, first `-`)."""


class InvalidEmailError(ValueError):
    """Not an address we register. The message never quotes it."""


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An address that passed.

    Attributes:
        given: as the person wrote it; mail goes there.
        key: the identity: lower case, ASCII, compared byte by byte.
    """

    given: str
    key: str


def mailbox_of(text: str) -> str:
    """Return the ASCII addr-spec of an email for mail servers, with the local part as written.

    Raises:
        InvalidEmailError: it is not an address.
    """
    domain = parse_email(text).key.rpartition("@")[2]
    return f"{text.rpartition('@')[0]}@{domain}"


def parse_new_email(text: str) -> EmailAddress:
    """Read the address of an account that is to be made: one that common mail servers accept.

    Accounts that exist, or come from another system, may have one that they do not: it is their identity.

    Raises:
        InvalidEmailError: with what is asked for instead.
    """
    address = parse_email(text)
    local_part = address.key.rpartition("@")[0]
    if local_part.startswith(_SPECIAL_STARTS) or any(character in local_part for character in _RELAYED):
        raise InvalidEmailError("must not contain `%` or `!`, or begin with `-`, `/` or `|`: mail servers reject it")
    return address


def parse_email(text: str) -> EmailAddress:
    """Read `text` as an addr-spec (RFC 5322 §3.4.1).

    Raises:
        InvalidEmailError: with what is asked for instead.
    """
    if len(text) > MAX_CHARACTERS:
        raise InvalidEmailError(f"must have at most {MAX_CHARACTERS} characters")
    try:
        valid = validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise InvalidEmailError("must be an email address such as name@example.com") from error
    if _ENCODED_WORD.search(text):
        raise InvalidEmailError("must not contain `=?` followed by `?=`: mail programs would decode it")
    key = f"{valid.ascii_local_part}@{valid.ascii_domain}".lower()
    if len(key) > MAX_CHARACTERS:
        raise InvalidEmailError(f"must have at most {MAX_CHARACTERS} characters")
    return EmailAddress(text, key)
