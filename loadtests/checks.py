"""Checks of single responses: each returns the name of the failure, or None. Pure."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

_NAMES: Final[Mapping[int, str]] = {
    HTTPStatus.TOO_MANY_REQUESTS: "rate limited: 429",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable: 503",
}
_REJECTIONS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def check_call(status: int) -> str | None:
    """Check the response to a request with a valid token: anything below 400 is right."""
    if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        return None
    return f"wrong rejection: {status} for a valid token" if status in _REJECTIONS else _describe(status)


def check_rejection(status: int, token: str) -> str | None:
    """Check the response to an invalid token, described by `token`: only 401 is right.

    A 404 of the application also means that the gateway let the request through.
    """
    if status == HTTPStatus.UNAUTHORIZED:
        return None
    if status in _NAMES or status >= HTTPStatus.INTERNAL_SERVER_ERROR or not status:
        return _describe(status)
    return f"wrong accept: {status} for {token}"


def check_either(status: int) -> str | None:
    """Check the response to a token that is being revoked: both a rejection and a success are right."""
    return None if status == HTTPStatus.UNAUTHORIZED else check_call(status)


def check_status(status: int, expected: int) -> str | None:
    """Check a response of the issuer against the one expected status."""
    return None if status == expected else _describe(status)


def retry_after_seconds(status: int, headers: Mapping[str, str]) -> int | None:
    """Return the Retry-After of a 503 (RFC 9110 §10.2.3), or None if the response is something else."""
    value = headers.get("retry-after", "")
    return int(value) if status == HTTPStatus.SERVICE_UNAVAILABLE and value.isascii() and value.isdigit() else None


def _describe(status: int) -> str:
    return _NAMES.get(status, f"status {status}") if status else "no response"
