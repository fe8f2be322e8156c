"""Maps errors to error responses of RFC 6749 §5.2, for the OAuth endpoints.

Total over `OAuthError`, and a test counts both sides. A malformed request is `invalid_request`; an outage is
`temporarily_unavailable` with 503 and `Retry-After` (RFC 7009 §2.2.1).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from issuer.errors import (
    CrossOriginError,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    OAuthError,
    RequestError,
    UnauthorizedClientError,
    UnavailableError,
    UnsupportedGrantTypeError,
)

_BASIC: Final = 'Basic realm="gatepass"'


@dataclass(frozen=True, slots=True)
class OAuthErrorCode:
    """An error code of RFC 6749 §5.2 with its HTTP status."""

    code: str
    status: int = 400


OAUTH_ERROR_CODES: Final[Mapping[type[OAuthError], OAuthErrorCode]] = {
    InvalidRequestError: OAuthErrorCode("invalid_request"),
    InvalidClientError: OAuthErrorCode("invalid_client", 401),
    InvalidGrantError: OAuthErrorCode("invalid_grant"),
    UnauthorizedClientError: OAuthErrorCode("unauthorized_client"),
    UnsupportedGrantTypeError: OAuthErrorCode("unsupported_grant_type"),
    InvalidScopeError: OAuthErrorCode("invalid_scope"),
    InvalidTargetError: OAuthErrorCode("invalid_target"),
    CrossOriginError: OAuthErrorCode("cross_origin", 403),
}
UNAVAILABLE: Final = OAuthErrorCode("temporarily_unavailable", 503)


def oauth_error_responses(
    handler: Callable[[Any, Request], Awaitable[Response]],
) -> Callable[[Any, Request], Awaitable[Response]]:
    """Wrap a method that serves an OAuth endpoint: errors become error responses of RFC 6749 §5.2."""

    async def respond(routes: Any, request: Request) -> Response:
        try:
            return await handler(routes, request)
        except UnavailableError as error:
            return _response(UNAVAILABLE, {"Retry-After": str(error.retry_after)})
        except InvalidClientError:
            return _response(OAUTH_ERROR_CODES[InvalidClientError], {"WWW-Authenticate": _BASIC})
        except OAuthError as error:
            return _response(OAUTH_ERROR_CODES[type(error)])
        except RequestError:
            return _response(OAUTH_ERROR_CODES[InvalidRequestError])

    return respond


def _response(error: OAuthErrorCode, fields: Mapping[str, str] | None = None) -> Response:
    """Return the error response, which has only the code."""
    return JSONResponse({"error": error.code}, error.status, fields)
