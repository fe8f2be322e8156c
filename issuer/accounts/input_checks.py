"""Emails and new passwords in requests, checked: the faults name the request's member."""

import re
from typing import Final

from issuer.email_address import EmailAddress, InvalidEmailError, parse_email
from issuer.errors import FieldFault, InvalidFieldsError
from issuer.passwords.policy import MAX_LENGTH, PasswordPolicy, is_too_long

SCOPE: Final = re.compile(r"(?:[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*)?")
"""Scope tokens separated by single spaces, or nothing (RFC 6749 §3.3)."""

ROLE: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
"""Visible ASCII without the comma, which separates roles in a header."""


def read_email(email: str) -> EmailAddress:
    """Parse the member `email`.

    Raises:
        InvalidFieldsError: it is not an email.
    """
    try:
        return parse_email(email)
    except InvalidEmailError as error:
        raise InvalidFieldsError(FieldFault("email", str(error))) from error


def check_password_length(member: str, password: str) -> None:
    """Reject a password that is longer than any password can be.

    Raises:
        InvalidFieldsError: it is too long.
    """
    if is_too_long(password):
        raise InvalidFieldsError(FieldFault(member, f"must have at most {MAX_LENGTH} characters"))


def check_new_password(policy: PasswordPolicy, member: str, password: str, email: str) -> None:
    """Check a new password for the account of `email` against the policy.

    Raises:
        InvalidFieldsError: with everything that is wrong with it.
    """
    faults = [FieldFault(member, detail) for detail in policy.faults(password, read_email(email))]
    if faults:
        raise InvalidFieldsError(*faults)
