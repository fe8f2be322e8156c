"""Maps errors to RFC 9457 problem documents with stable types.

Together with `oauth/errors.py`, maps every error of a request to its status; a test compares both sides. A problem
document has its kind, and the faults of invalid members without their values.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from issuer.errors import (
    ContentTooLargeError,
    CrossOriginError,
    DatabaseUnavailableError,
    EmailTakenError,
    InvalidClientError,
    InvalidCredentialsError,
    InvalidFieldsError,
    InvalidOneTimeTokenError,
    InvalidScopeError,
    InvalidTargetError,
    InvalidTokenError,
    IssuerError,
    MalformedJsonError,
    MethodNotAllowedError,
    MissingTokenError,
    NoSigningKeyError,
    NotFoundError,
    OAuthError,
    OverloadedError,
    TooManyAttemptsError,
    UnauthorizedClientError,
    UnavailableError,
    UnsupportedMediaTypeError,
)

MEDIA_TYPE: Final = "application/problem+json"
_CHALLENGE: Final = 'Bearer realm="gatepass"'


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem: its `type`, `title` and `status` (RFC 9457 §3.1)."""

    slug: str
    title: str
    status: int

    @property
    def type(self) -> str:
        """The URI by which clients identify the problem. It never changes once published."""
        return f"urn:gatepass:problem:{self.slug}"

    def document(self) -> dict[str, Any]:
        """Return the members that every document of this kind has."""
        return {"type": self.type, "title": self.title, "status": self.status}


INTERNAL: Final = Problem("internal", "Internal server error", 500)

PROBLEMS: Final[Mapping[type[IssuerError], Problem]] = {
    NotFoundError: Problem("not-found", "Not found", 404),
    MethodNotAllowedError: Problem("method-not-allowed", "Method not allowed", 405),
    MalformedJsonError: Problem("malformed-json", "Malformed JSON", 400),
    UnsupportedMediaTypeError: Problem(
        "unsupported-media-type", "Unsupported media type; send application/json", 415
    ),
    ContentTooLargeError: Problem("content-too-large", "Request body too large", 413),
    InvalidFieldsError: Problem("validation-error", "Validation error", 422),
    EmailTakenError: Problem("email-taken", "Email address already registered", 409),
    InvalidCredentialsError: Problem("invalid-credentials", "Wrong email address or password", 401),
    TooManyAttemptsError: Problem("too-many-attempts", "Too many attempts; retry later", 429),
    MissingTokenError: Problem("missing-token", "Access token required", 401),
    InvalidTokenError: Problem("invalid-token", "Invalid access token", 401),
    InvalidOneTimeTokenError: Problem(
        "invalid-or-expired-token", "The link is invalid or has expired; request a new email", 400
    ),
    DatabaseUnavailableError: Problem("database-unavailable", "Database unavailable; retry later", 503),
    NoSigningKeyError: Problem("no-signing-key", "No signing key yet; retry later", 503),
    InvalidClientError: Problem("invalid-client", "Unknown or disabled client", 400),
    UnauthorizedClientError: Problem("unauthorized-client", "Users do not log in with this client", 400),
    InvalidScopeError: Problem("invalid-scope", "Scope not allowed for this client or account", 400),
    InvalidTargetError: Problem("invalid-target", "Resource not allowed for this client", 400),
    CrossOriginError: Problem("cross-origin", "Cookies are for pages of the same origin only", 403),
    OverloadedError: Problem("server-overloaded", "Server overloaded; retry later", 503),
}


def problem_of(error: Exception) -> Problem:
    """Return the problem for `error`; `INTERNAL` for an unexpected one."""
    return PROBLEMS.get(type(error), INTERNAL) if isinstance(error, IssuerError) else INTERNAL


def problem_response(error: Exception) -> Response:
    """Return the response to `error`, with the header fields of its kind."""
    problem = problem_of(error)
    document = problem.document()
    if isinstance(error, OAuthError):
        document["error"] = problem.slug.replace("-", "_")  # for OAuth libraries (RFC 6749 §5.2, RFC 8707 §2)
    if isinstance(error, InvalidFieldsError):
        document["errors"] = [{"field": fault.field, "detail": fault.detail} for fault in error.faults]
    return JSONResponse(document, problem.status, _fields(error), MEDIA_TYPE)


def _fields(error: Exception) -> dict[str, str]:
    """Return the header fields. RFC 9110 §15.5.2 requires a challenge in a 401."""
    match error:
        case UnavailableError() | TooManyAttemptsError():
            return {"Retry-After": str(error.retry_after)}
        case MethodNotAllowedError():
            return {"Allow": error.allow}
        case UnsupportedMediaTypeError():
            return {"Accept": "application/json"}
        case InvalidTokenError():
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}
        case MissingTokenError() | InvalidCredentialsError():
            return {"WWW-Authenticate": _CHALLENGE}
        case _:
            return {}
