"""Whether an answer was right, and what the wrong ones are called. Pure; every fault is counted by these names."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

_OTHERS: Final[Mapping[int, str]] = {
    HTTPStatus.TOO_MANY_REQUESTS: "throttled: 429",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable: 503",
}
_REFUSALS: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


def fault_of_call(status: int) -> str | None:
    """What is wrong with the answer to a live token; None if it was let through, wherever that led."""
    if HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        return None
    if status in _REFUSALS:
        return f"wrong refusal: {status} for a live token"
    return _other(status)


def fault_of_refusal(status: int, what: str) -> str | None:
    """What is wrong with the answer to `what`, which opens nothing; None if it was refused by 401.

    An application's own 404 also means that the gateway let it through.
    """
    if status == HTTPStatus.UNAUTHORIZED:
        return None
    if status in _OTHERS or status >= HTTPStatus.INTERNAL_SERVER_ERROR or not status:
        return _other(status)
    return f"wrong accept: {status} for {what}"


def fault_in_between(status: int) -> str | None:
    """What is wrong with the answer to a token that will soon be refused: both it and 200 are right."""
    return None if status == HTTPStatus.UNAUTHORIZED else fault_of_call(status)


def fault_of_answer(status: int, right: int) -> str | None:
    """What is wrong with an answer of the issuer that ought to be `right`."""
    return None if status == right else _other(status)


def seconds_to_wait(status: int, headers: Mapping[str, str]) -> int | None:
    """How long a 503 asks to wait (RFC 9110 §10.2.3, in seconds); None if it is none or does not say."""
    value = headers.get("retry-after", "")
    return int(value) if status == HTTPStatus.SERVICE_UNAVAILABLE and value.isascii() and value.isdigit() else None


def _other(status: int) -> str:
    return _OTHERS.get(status, f"answered {status}") if status else "no answer"
