"""Parses request bodies with pydantic.

Checks the size first, then strict JSON, exact types, and that no member is unknown (mass assignment, as in
CVE-2025-61928). Errors name members and never quote their values.
"""

import json
import re
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from issuer.errors import (
    ContentTooLargeError,
    FieldFault,
    InvalidFieldsError,
    MalformedJsonError,
    UnsupportedMediaTypeError,
)
from issuer.tokens.models import FIRST_PARTY_CLIENT
from shared.strict_json import StrictJsonError, parse_object

_MAX_RESOURCES: Final = 16
_RESOURCES: Final = f"must be a string, or a list of 1 to {_MAX_RESOURCES} strings, not empty and without U+0000"
_NUL: Final = "must not contain U+0000"
_LONE_SURROGATE: Final = "must not contain unpaired surrogates"
_DETAILS: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a member of this request",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "string_too_short": "must not be empty",
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_JSON_MEDIA_TYPE: Final = re.compile(r'application/json\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)


def _without_nul(text: str) -> str:
    """Reject U+0000, which PostgreSQL cannot store and which ends a string in C libraries."""
    if "\0" in text:
        raise ValueError(_NUL)
    return text


def _resources(value: Any) -> tuple[str, ...]:
    """Parse one resource or several (RFC 8707 §2)."""
    resources = [value] if isinstance(value, str) else value
    if not isinstance(resources, list) or not 1 <= len(resources) <= _MAX_RESOURCES:
        raise ValueError(_RESOURCES)
    if not all(isinstance(resource, str) and resource and "\0" not in resource for resource in resources):
        raise ValueError(_RESOURCES)
    return tuple(dict.fromkeys(resources))


Text = Annotated[str, AfterValidator(_without_nul)]
NonEmptyText = Annotated[Text, Field(min_length=1)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class RegistrationBody(_Body):
    """`POST /register`."""

    email: Text
    password: Text


class LoginBody(_Body):
    """`POST /login`. With the refresh token of a live session, failures of other clients do not delay the login."""

    email: Text
    password: Text
    refresh_token: Text = ""
    client_id: NonEmptyText = FIRST_PARTY_CLIENT
    scope: NonEmptyText = ""
    resource: Annotated[tuple[str, ...], BeforeValidator(_resources)] = ()
    cookies: bool = False


class EmailBody(_Body):
    """`POST /password/forgot`, `POST /email/verify/resend`."""

    email: Text


class TokenBody(_Body):
    """`POST /email/verify`."""

    token: Text


class PasswordResetBody(_Body):
    """`POST /password/reset`."""

    token: Text
    password: Text


class PasswordChangeBody(_Body):
    """`POST /password`."""

    current_password: Text
    new_password: Text


class PasswordBody(_Body):
    """`DELETE /me`."""

    password: Text


Body = TypeVar("Body", bound=_Body)


async def read_body(request: Request, model: type[Body]) -> Body:
    """Read and check the body of `request`.

    Raises:
        RequestError: the body is malformed, too large or invalid.
    """
    if not has_media_type(request, _JSON_MEDIA_TYPE):
        raise UnsupportedMediaTypeError
    data = await read_bounded(request)
    try:
        members = parse_object(data)
    except StrictJsonError as error:
        raise _unreadable(data) from error
    try:
        return model.model_validate(members)
    except ValidationError as error:
        # Without its cause: pydantic's error holds the values.
        raise InvalidFieldsError(*_faults(error)) from None


def has_media_type(request: Request, pattern: re.Pattern[str]) -> bool:
    """Return whether there is exactly one Content-Type, which matches `pattern`, and no content coding."""
    declared = request.headers.getlist("content-type")
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    return len(declared) == 1 and plain and pattern.fullmatch(declared[0].strip()) is not None


async def read_bounded(request: Request) -> bytes:
    """Return the body.

    Raises:
        ContentTooLargeError: it is longer than the limit of `protocol.py`.
    """
    if request.state.body_too_large:
        raise ContentTooLargeError
    return await request.body()


def _unreadable(data: bytes) -> MalformedJsonError | InvalidFieldsError:
    """Return the error for a body that is not strict JSON. Only for unpaired surrogates, the error names members."""
    try:
        members = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return MalformedJsonError()
    if not isinstance(members, dict):
        return MalformedJsonError()
    faulty = [name for name, text in members.items() if isinstance(text, str) and _SURROGATE.search(text)]
    if not faulty:
        return MalformedJsonError()
    return InvalidFieldsError(*(FieldFault(_field(name), _LONE_SURROGATE) for name in faulty))


def _faults(error: ValidationError) -> list[FieldFault]:
    # At most 16: a body of 64 KiB may have thousands of unknown members.
    return [
        FieldFault(
            _field(str(fault["loc"][0]) if fault["loc"] else ""),
            _DETAILS.get(fault["type"]) or fault["msg"].removeprefix("Value error, "),
        )
        for fault in error.errors(include_input=False, include_url=False)
    ][:16]


def _field(name: str) -> str:
    """Return a known member's name, or `*`: an unknown name is untrusted text."""
    return name if _PLAIN_NAME.fullmatch(name) else "*"
