"""Checks emails and passwords in requests. The errors name the member of the request."""

from issuer.email_address import EmailAddress, InvalidEmailError, parse_email
from issuer.errors import FieldFault, InvalidFieldsError
from issuer.passwords.policy import MAX_LENGTH, PasswordPolicy, is_too_long


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
        InvalidFieldsError: it is not acceptable; the error has all reasons.
    """
    faults = [FieldFault(member, detail) for detail in policy.faults(password, read_email(email))]
    if faults:
        raise InvalidFieldsError(*faults)
