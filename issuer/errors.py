"""Everything that the issuer can say no with. How each is answered over HTTP is `problems.py`'s business.

    IssuerError
    ├── RequestError                 the request itself cannot be read
    │   ├── NotFoundError
    │   ├── MethodNotAllowedError
    │   ├── MalformedJsonError
    │   ├── UnsupportedMediaTypeError
    │   ├── ContentTooLargeError
    │   └── InvalidFieldsError       … or its members are not acceptable
    ├── RejectedError                 the request is clear and the answer is no
    │   ├── EmailTakenError
    │   ├── InvalidCredentialsError
    │   ├── TooManyAttemptsError
    │   ├── MissingTokenError
    │   ├── InvalidTokenError
    │   └── InvalidOneTimeTokenError
    ├── OAuthError                   a no in the words of RFC 6749 §5.2: `oauth_errors.py` answers it
    │   ├── InvalidRequestError
    │   ├── InvalidClientError
    │   ├── InvalidGrantError
    │   ├── UnauthorizedClientError
    │   ├── UnsupportedGrantTypeError
    │   ├── InvalidScopeError
    │   └── InvalidTargetError
    ├── UnavailableError             not now: the client may try again
    │   ├── DatabaseUnavailableError
    │   ├── NoSigningKeyError
    │   └── OverloadedError
    ├── UnexpectedDatabaseError              PostgreSQL rejected for an unexpected reason: 500
    └── CommandError               a command of the operator failed; never seen over HTTP
        ├── KeyStoreError
        ├── ClientRegistrationError
        ├── MigrationError
        ├── BindError
        ├── InsufficientMemoryError
        ├── ImportFailedError
        ├── AccountNotFoundError
        ├── SessionNotFoundError
        └── AuditVerificationError

No message ever quotes a password, a token, key material or text from a request.
"""

from dataclasses import dataclass
from typing import Final


class IssuerError(Exception):
    """Root of the tree, never raised itself."""


class RequestError(IssuerError):
    """The request itself cannot be read."""


class NotFoundError(RequestError):
    """Nothing is served at this path."""


class MethodNotAllowedError(RequestError):
    """The path is served, but not by this method.

    Attributes:
        allow: the value of the `Allow` field (RFC 9110 §10.2.1).
    """

    def __init__(self, allow: str) -> None:
        super().__init__(allow)
        self.allow: Final = allow


class MalformedJsonError(RequestError):
    """The body is not one JSON object in the one strict reading that we accept."""


class UnsupportedMediaTypeError(RequestError):
    """The body is not declared as plain `application/json`."""


class ContentTooLargeError(RequestError):
    """The body is longer than we read."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One member of a request and why it is not acceptable. Never holds the member's value."""

    field: str
    detail: str


class InvalidFieldsError(RequestError):
    """Members are missing, unknown, of the wrong type or not acceptable: all of them at once."""

    def __init__(self, *faults: FieldFault) -> None:
        super().__init__(*(fault.field for fault in faults))
        self.faults: Final = faults


class RejectedError(IssuerError):
    """The request is clear, and the answer is no."""


class EmailTakenError(RejectedError):
    """An account with this e-mail address exists."""


class InvalidCredentialsError(RejectedError):
    """The one answer to every failed login, whatever the reason was."""


class TooManyAttemptsError(RejectedError):
    """Too many attempts failed, or too many were made, before this one.

    Attributes:
        retry_after: seconds, for the `Retry-After` field.
    """

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after: Final = retry_after


class MissingTokenError(RejectedError):
    """The request carries no bearer token (RFC 6750 §3: the challenge then has no error code)."""


class InvalidTokenError(RejectedError):
    """The bearer token was issued elsewhere, is not an access token, or is no longer valid."""


class InvalidOneTimeTokenError(RejectedError):
    """The one answer to every token from a mail that is not good: unknown, used, replaced or too old."""


class OAuthError(IssuerError):
    """The answer of an OAuth endpoint is no (RFC 6749 §5.2)."""


class InvalidRequestError(OAuthError):
    """The form cannot be read, lacks a parameter or has one twice: `invalid_request`."""


class InvalidClientError(OAuthError):
    """The client did not authenticate: `invalid_client`."""


class InvalidGrantError(OAuthError):
    """The refresh token is not good, for whatever reason: `invalid_grant`."""


class UnauthorizedClientError(OAuthError):
    """This client may not use this grant: `unauthorized_client`."""


class UnsupportedGrantTypeError(OAuthError):
    """A grant that is not served: `unsupported_grant_type`."""


class InvalidScopeError(OAuthError):
    """A scope that this client may not have: `invalid_scope`."""


class InvalidTargetError(OAuthError):
    """An audience that this client may not have tokens for: `invalid_target` (RFC 8707 §2)."""


class UnavailableError(IssuerError):
    """Not now. The client may try again.

    Attributes:
        retry_after: seconds, for the `Retry-After` field.
    """

    def __init__(self, message: str = "", *, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after: Final = retry_after


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL does not answer, or not in time."""


class NoSigningKeyError(UnavailableError):
    """There is no current signing key."""


class OverloadedError(UnavailableError):
    """More password hashing is asked for than this machine can do in time."""


class UnexpectedDatabaseError(IssuerError):
    """PostgreSQL rejected an operation for a reason that should not exist, such as a constraint.

    Trying again does not help. It was logged and counted where it was raised.
    """


class CommandError(IssuerError):
    """A command of the operator failed. The message is one line that says what to do."""


class KeyStoreError(CommandError):
    """The keys folder must not be used as it is."""


class ClientRegistrationError(CommandError):
    """A client cannot be registered or changed like that."""


class MigrationError(CommandError):
    """The schema could not be brought to the head revision."""


class BindError(CommandError):
    """An address cannot be listened on."""


class InsufficientMemoryError(CommandError):
    """This machine has too little memory for the password hashing that is asked of it."""


class ImportFailedError(CommandError):
    """Accounts could not be imported, in whole or in part."""


class AccountNotFoundError(CommandError):
    """The operator named an account that is not there."""


class SessionNotFoundError(CommandError):
    """The operator named a session that is not there."""


class AuditVerificationError(CommandError):
    """The audit trail is not as it was written, or cannot be compared."""
