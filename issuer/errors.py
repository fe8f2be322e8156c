"""The errors of the issuer. `http/problems.py` and `oauth/errors.py` map them to responses.

    IssuerError
    ├── RequestError                 the request cannot be read
    │   ├── NotFoundError
    │   ├── MethodNotAllowedError
    │   ├── MalformedJsonError
    │   ├── UnsupportedMediaTypeError
    │   ├── ContentTooLargeError
    │   └── InvalidFieldsError       a member is missing, unknown or invalid
    ├── RejectedError                the request was understood and is rejected
    │   ├── EmailTakenError
    │   ├── InvalidCredentialsError
    │   ├── TooManyAttemptsError
    │   ├── MissingTokenError
    │   ├── InvalidTokenError
    │   └── InvalidOneTimeTokenError
    ├── OAuthError                   an error response of RFC 6749 §5.2
    │   ├── InvalidRequestError
    │   ├── InvalidClientError
    │   ├── InvalidGrantError
    │   ├── UnauthorizedClientError
    │   ├── UnsupportedGrantTypeError
    │   ├── InvalidScopeError
    │   ├── InvalidTargetError
    │   └── CrossOriginError
    ├── UnavailableError             temporary: the client may retry
    │   ├── DatabaseUnavailableError
    │   ├── NoSigningKeyError
    │   └── OverloadedError
    ├── UnexpectedDatabaseError      PostgreSQL failed for an unexpected reason: 500
    └── CommandError                 an operator's command failed; never sent over HTTP
        ├── KeyStoreError
        ├── ClientRegistrationError
        ├── AccountNotFoundError
        └── SessionNotFoundError

No message contains a password, a token, key material or text from a request.
"""

from dataclasses import dataclass
from typing import Final


class IssuerError(Exception):
    """The base class of the errors above; never raised itself."""


class RequestError(IssuerError):
    """The request cannot be read."""


class NotFoundError(RequestError):
    """There is no such path, session or status list (404)."""


class MethodNotAllowedError(RequestError):
    """The path is served, but not for this method (405).

    Attributes:
        allow: the value of the `Allow` field (RFC 9110 §10.2.1).
    """

    def __init__(self, allow: str) -> None:
        super().__init__(allow)
        self.allow: Final = allow


class MalformedJsonError(RequestError):
    """The body is not one JSON object as `shared.strict_json` reads it."""


class UnsupportedMediaTypeError(RequestError):
    """The body is not declared as plain `application/json`."""


class ContentTooLargeError(RequestError):
    """The body is longer than the limit."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """An invalid member of a request, and the reason. Never holds the value of the member."""

    field: str
    detail: str


class InvalidFieldsError(RequestError):
    """Members are missing, unknown or invalid. `faults` has all of them."""

    def __init__(self, *faults: FieldFault) -> None:
        super().__init__(*(fault.field for fault in faults))
        self.faults: Final = faults


class RejectedError(IssuerError):
    """The request was understood and is rejected."""


class EmailTakenError(RejectedError):
    """An account with this email exists."""


class InvalidCredentialsError(RejectedError):
    """A login failed. The same for every reason, so that a client cannot tell which accounts exist."""


class TooManyAttemptsError(RejectedError):
    """A rate limit was reached.

    Attributes:
        retry_after: seconds, for the `Retry-After` field.
    """

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after: Final = retry_after


class MissingTokenError(RejectedError):
    """The request carries no bearer token (RFC 6750 §3: the challenge then has no error code)."""


class InvalidTokenError(RejectedError):
    """The bearer token is not a valid access token of this issuer."""


class InvalidOneTimeTokenError(RejectedError):
    """A one-time token is unknown, used, replaced or expired."""


class OAuthError(IssuerError):
    """An OAuth endpoint rejects the request (RFC 6749 §5.2)."""


class InvalidRequestError(OAuthError):
    """The form cannot be read, lacks a parameter or repeats one: `invalid_request`."""


class InvalidClientError(OAuthError):
    """The client did not authenticate: `invalid_client`."""


class InvalidGrantError(OAuthError):
    """The refresh token is invalid, expired, revoked or reused: `invalid_grant`."""


class UnauthorizedClientError(OAuthError):
    """This client may not use this grant, or not revoke this token: `unauthorized_client`."""


class UnsupportedGrantTypeError(OAuthError):
    """The issuer does not support this grant: `unsupported_grant_type`."""


class InvalidScopeError(OAuthError):
    """The client or the account may not have this scope: `invalid_scope`."""


class InvalidTargetError(OAuthError):
    """The client may not request tokens for this audience: `invalid_target` (RFC 8707 §2)."""


class CrossOriginError(OAuthError):
    """A page of another origin sends or requests cookies: `cross_origin`, which is not a registered error code."""


class UnavailableError(IssuerError):
    """The request cannot be served now; the client may retry.

    Attributes:
        retry_after: seconds, for the `Retry-After` field.
    """

    def __init__(self, message: str = "", *, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after: Final = retry_after


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL cannot be used now: for example, it is unreachable, too slow, or not migrated."""


class NoSigningKeyError(UnavailableError):
    """There is no current signing key."""


class OverloadedError(UnavailableError):
    """A password hash would start too late."""


class UnexpectedDatabaseError(IssuerError):
    """PostgreSQL rejected an operation for an unexpected reason, such as a violated constraint.

    Retrying does not help. The error was logged and counted where it was raised.
    """


class CommandError(IssuerError):
    """An operator's command failed. The message is one line that says what to do."""


class KeyStoreError(CommandError):
    """The key directory is unusable."""


class ClientRegistrationError(CommandError):
    """A client cannot be registered or changed in this way."""


class AccountNotFoundError(CommandError):
    """The account does not exist."""


class SessionNotFoundError(CommandError):
    """The session does not exist."""
