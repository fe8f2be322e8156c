"""One line of an import: from bytes to an account that was checked. No I/O.

Nothing is taken on trust because an operator hands it over: addresses, scopes and roles are held to what
tokens and the verifier hold them to, and a hash that could not be computed at a login is refused here.
Faults name members and never quote their values.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from issuer.accounts.models import ImportedAccount
from issuer.email_address import EmailAddress, InvalidEmailError, parse_email
from issuer.passwords.foreign_hashes import UnusableHashError
from issuer.passwords.hasher import check_stored_hash
from issuer.tokens.access_token import grants_length
from issuer.tokens.models import DEFAULT_SCOPE
from shared.strict_json import JsonObject, StrictJsonError, parse_object

_REQUIRED: Final = frozenset({"email", "password_hash"})
_OPTIONAL: Final = frozenset({"created_at", "email_verified", "scope", "roles"})
_SCOPE: Final = re.compile(r"(?:[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*)?")
_ROLE: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Other systems write their zero where they know nothing, and the year 1 of some is no time in others."""


class InvalidRecordError(ValueError):
    """The line is no account. The message names the member and says what is wrong with it."""


def read_line(line: bytes, account_id: UUID, now: datetime, room: int) -> ImportedAccount:
    """Read and check a line.

    Args:
        line: a JSON object.
        account_id: the account's, here.
        now: when it was created, unless the line says so; and verified, if it says that it is.
        room: characters that a token has for scope and roles.

    Raises:
        InvalidRecordError: at the first member that is not acceptable.
    """
    members = _members(line)
    created_at = _read(members, "created_at", _instant, now)
    if created_at > now:
        raise InvalidRecordError("created_at: is in the future")
    scope, roles = _read(members, "scope", _scope, DEFAULT_SCOPE), _read(members, "roles", _roles, ())
    if grants_length(scope, roles) > room:
        raise InvalidRecordError(f"scope: has with roles more than the {room} characters that a token has room for")
    return ImportedAccount(
        account_id,
        _read(members, "email", _address),
        _read(members, "password_hash", _password_hash),
        created_at,
        now if _read(members, "email_verified", _flag, default=False) else None,
        scope,
        roles,
    )


def _members(line: bytes) -> JsonObject:
    try:
        members = parse_object(line)
    except StrictJsonError:
        raise InvalidRecordError("is not one strict JSON object") from None
    if missing := _REQUIRED - members.keys():
        raise InvalidRecordError(f"{min(missing)}: is required")
    if members.keys() - _REQUIRED - _OPTIONAL:
        raise InvalidRecordError("has a member that is none of an account")
    return members


def _read(members: JsonObject, name: str, parse: Callable[[Any], Any], default: Any = None) -> Any:
    if name not in members:
        return default
    try:
        return parse(members[name])
    except (ValueError, OverflowError) as error:
        # Only our own words: those of the standard library quote what they could not read.
        own = isinstance(error, (InvalidEmailError, UnusableHashError, _MemberError))
        raise InvalidRecordError(f"{name}: {error if own else 'is not acceptable'}") from None


class _MemberError(ValueError):
    """Not what the member has to be."""


def _text(value: Any) -> str:
    if type(value) is not str or "\0" in value:
        raise _MemberError("must be a string without U+0000")
    return value


def _address(value: Any) -> EmailAddress:
    return parse_email(_text(value))


def _password_hash(value: Any) -> str:
    text = _text(value)
    check_stored_hash(text)
    return text


def _instant(value: Any) -> datetime:
    if not _INSTANT.fullmatch(_text(value)):
        raise _MemberError("must be a date and time with an offset (RFC 3339)")
    instant = datetime.fromisoformat(value).astimezone(UTC)
    if instant < _EARLIEST:
        raise _MemberError("is before any account was made")
    return instant


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _MemberError("must be true or false")
    return value


def _scope(value: Any) -> str:
    text = _text(value)
    if not _SCOPE.fullmatch(text):
        raise _MemberError("must be scopes with a space between them (RFC 6749 §3.3)")
    return text


def _roles(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(role) is str and _ROLE.fullmatch(role) for role in value):
        raise _MemberError("must be a list of plain words")
    return tuple(value)
