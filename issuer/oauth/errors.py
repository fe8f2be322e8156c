"""Errors in the words of RFC 6749 §5.2, for the endpoints that OAuth clients speak to.

Total over `OAuthError`, and a test counts both sides. Whatever is wrong with the request itself is
`invalid_request`; what is down is `temporarily_unavailable` with 503 (RFC 7009 §2.2.1 asks for `Retry-After`).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from issuer.errors import (
    InvalidClientError,
    InvalidGrantError,
    InvalidScopeError,
    InvalidTargetError,
    InvalidTokenRequestError,
    OAuthError,
    RequestError,
    UnauthorizedClientError,
    UnavailableError,
    UnsupportedGrantTypeError,
)

_BASIC: Final = 'Basic realm="gatepass"'


@dataclass(frozen=True, slots=True)
class OAuthAnswer:
    """An error code of RFC 6749 §5.2, and the status it is answered with."""

    code: str
    status: int = 400


OAUTH_ANSWERS: Final[Mapping[type[OAuthError], OAuthAnswer]] = {
    InvalidTokenRequestError: OAuthAnswer("invalid_request"),
    InvalidClientError: OAuthAnswer("invalid_client", 401),
    InvalidGrantError: OAuthAnswer("invalid_grant"),
    UnauthorizedClientError: OAuthAnswer("unauthorized_client"),
    UnsupportedGrantTypeError: OAuthAnswer("unsupported_grant_type"),
    InvalidScopeError: OAuthAnswer("invalid_scope"),
    InvalidTargetError: OAuthAnswer("invalid_target"),
}
UNAVAILABLE: Final = OAuthAnswer("temporarily_unavailable", 503)


def oauth_error_response(error: OAuthError | RequestError | UnavailableError) -> Response:
    """The answer to `error`. It never says more than the code."""
    match error:
        case UnavailableError():
            answer, fields = UNAVAILABLE, {"Retry-After": str(error.retry_after)}
        case InvalidClientError():
            answer, fields = OAUTH_ANSWERS[InvalidClientError], {"WWW-Authenticate": _BASIC}
        case OAuthError():
            answer, fields = OAUTH_ANSWERS[type(error)], {}
        case _:
            answer, fields = OAUTH_ANSWERS[InvalidTokenRequestError], {}
    return JSONResponse({"error": answer.code}, answer.status, fields)


def oauth_error_responses(
    handler: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request], Awaitable[Response]]:
    """Wrap a method that serves an OAuth endpoint: errors become error responses of RFC 6749 §5.2."""

    async def answer(routes: Any, request: Request) -> Response:
        try:
            return await handler(routes, request)
        except (OAuthError, RequestError, UnavailableError) as error:
            return oauth_error_response(error)

    return answer
