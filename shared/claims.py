"""The claims of an access token (RFC 9068 §2.2, contract A), parsed in the same way by issuer and verifier.

Every claim that is used or passed on must have the right type and length; others are ignored (RFC 7519 §4). The
caller decides whether the claims are sufficient.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from sys import intern
from typing import Any, Final, NamedTuple, cast

from shared.strict_json import MAX_INTEGER

MAX_IDENTIFIER_CHARACTERS: Final = 255
MAX_LIST_CHARACTERS: Final = 800
"""Bound of `scope`, and of all `roles` together. With it, and that of identifiers, a response stays under 3.5 KiB."""

SCOPE: Final = re.compile(r"(?:[\x21\x23-\x5B\x5D-\x7E]+(?: (?!$)|$))*")
"""Scope tokens with single spaces between them, or nothing (RFC 6749 §3.3)."""

ROLE: Final = re.compile(r"[\x21-\x2B\x2D-\x7E]+")
"""Visible ASCII without the comma, which separates roles in the identity header."""


class InvalidClaimsError(ValueError):
    """A required claim is missing, or a claim has the wrong type. Without a message, which could quote the token."""


class StatusReference(NamedTuple):
    """The entry of a Token Status List that shows whether a token is revoked.

    It includes the token's issuer, since a list applies only to tokens of its own issuer.
    """

    issuer: str
    uri: str
    idx: int


class Claims(NamedTuple):
    """The claims of a token. Times are seconds since the epoch, and may have fractions (RFC 7519 §2).

    Attributes:
        not_before: `nbf`; `iat` if there is none.
        token_id, client_id: empty if missing, which is possible only for tokens of some other issuers.
        scope: scope tokens with single spaces between them; empty if there are none.
        session: `sid`, empty if there is none.
        sender_constrained: whether there is a `cnf` (RFC 7800 §3.1), with any value.
    """

    issuer: str
    subject: str
    audience: tuple[str, ...]
    expires_at: float
    issued_at: float
    not_before: float
    token_id: str
    client_id: str
    scope: str
    roles: tuple[str, ...]
    session: str
    status: StatusReference | None
    sender_constrained: bool


def read_claims(members: Mapping[str, Any], *, optional: AbstractSet[str] = frozenset()) -> Claims:
    """Return the claims of an access token, after checking them one by one.

    Args:
        members: the claims, as `parse_open_object` returns them.
        optional: which of `jti` and `client_id` may be missing.

    Raises:
        InvalidClaimsError: a required claim is missing, or a claim has the wrong type.
    """
    # A missing claim is read as None, which has the wrong type for every claim.
    issued_at, expires_at = _time(members.get("iat")), _time(members.get("exp"))
    if expires_at <= issued_at:
        raise InvalidClaimsError
    _time(members.get("auth_time", 0))  # no decision uses it, but a wrong type shows that the token is malformed
    issuer = read_string(members.get("iss"))
    return Claims(
        issuer=issuer,
        subject=_identifier(members.get("sub")),
        audience=_audience(members.get("aud")),
        expires_at=expires_at,
        issued_at=issued_at,
        not_before=_time(members.get("nbf", issued_at)),
        token_id=_optional_identifier("jti", members, optional),
        client_id=_optional_identifier("client_id", members, optional),
        scope=_scope(members.get("scope", "")),
        roles=_roles(members["roles"]) if "roles" in members else (),
        session=_identifier(members["sid"]) if "sid" in members else "",
        status=_status(issuer, members["status"]) if "status" in members else None,
        sender_constrained="cnf" in members,
    )


def _time(value: Any) -> float:
    """Return a NumericDate: a JSON number, with or without a fraction (RFC 7519 §2); not `true`, not `"1"`.

    Fractions are kept. Parsing rounds to the nearest double, which never reverses the order of two times, not even
    after the leeway is added. The clock is a double too.
    """
    if (type(value) is not int and type(value) is not float) or not 0 <= value <= MAX_INTEGER:
        raise InvalidClaimsError
    return cast("float", value)


def read_integer(value: Any) -> int:
    """Return a whole number that is not negative: not `true`, not `"1"`, not `1e3`. Else `InvalidClaimsError`."""
    if type(value) is not int or not 0 <= value <= MAX_INTEGER:
        raise InvalidClaimsError
    return value


def read_string(value: Any) -> str:
    """Return a text that is not empty. Lone surrogates, which JSON can escape, are not text: `InvalidClaimsError`."""
    if type(value) is not str or not value:
        raise InvalidClaimsError
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidClaimsError from None
    return value


def _identifier(value: Any) -> str:
    """Return a value that becomes a response header: visible ASCII, which can neither end a line nor be split."""
    if (
        type(value) is not str
        or not 0 < len(value) <= MAX_IDENTIFIER_CHARACTERS
        or not (value.isascii() and value.isprintable())
        or " " in value
    ):
        raise InvalidClaimsError
    return value


def _optional_identifier(name: str, members: Mapping[str, Any], optional: AbstractSet[str]) -> str:
    return "" if name in optional and name not in members else _identifier(members.get(name))


def _audience(value: Any) -> tuple[str, ...]:
    """Return the audiences: a StringOrURI, or an array of them (RFC 7519 §4.1.3)."""
    return tuple(map(read_string, value)) if type(value) is list else (read_string(value),)


def _scope(value: Any) -> str:
    """Return scope tokens with single spaces between them (RFC 6749 §3.3), or an empty text."""
    if type(value) is not str or len(value) > MAX_LIST_CHARACTERS or not _is_scope(value):
        raise InvalidClaimsError
    return value


@lru_cache(maxsize=256)
def _is_scope(value: str) -> bool:
    return SCOPE.fullmatch(value) is not None


def _roles(value: Any) -> tuple[str, ...]:
    """Return roles of visible ASCII without the comma, which separates them in the identity header."""
    if type(value) is not list or not all(type(role) is str and ROLE.fullmatch(role) for role in value):
        raise InvalidClaimsError
    if sum(len(role) + 1 for role in value) > MAX_LIST_CHARACTERS:
        raise InvalidClaimsError
    return tuple(value)


def _status(issuer: str, value: Any) -> StatusReference:
    """Return the reference of draft-ietf-oauth-status-list §6.2. A `status` without one is rejected."""
    reference = value.get("status_list") if type(value) is dict else None
    if type(reference) is not dict:
        raise InvalidClaimsError
    # Interned, since the tokens of an issuer refer to few lists, and every cached decision holds these names.
    return StatusReference(
        intern(issuer), intern(read_string(reference.get("uri"))), read_integer(reference.get("idx"))
    )
