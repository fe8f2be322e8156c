"""Authenticates a request by its bearer token (RFC 6750 §2.1), from the Authorization header field only."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.requests import Request

from issuer.errors import InvalidTokenError, MissingTokenError
from issuer.tokens.access_token import AccessTokens

_BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated account and session of a request."""

    user_id: UUID
    session_id: UUID


def bearer_token(request: Request) -> str:
    """Return the bearer token of a request.

    Raises:
        MissingTokenError: there is no Authorization field.
        InvalidTokenError: there are several fields, or the field is no bearer token.
    """
    fields = request.headers.getlist("authorization")
    if not fields:
        raise MissingTokenError
    found = _BEARER.fullmatch(fields[0]) if len(fields) == 1 else None
    if found is None:
        raise InvalidTokenError
    return found[1]


def authenticate(request: Request, tokens: AccessTokens) -> Principal:
    """Verify the access token of a session. The caller must check that the session is live.

    Raises:
        MissingTokenError: there is no token.
        InvalidTokenError: the token is invalid or expired, or belongs to a client and not to a session.
    """
    token = tokens.read(bearer_token(request))
    if token.session_id is None:
        raise InvalidTokenError
    return Principal(UUID(token.subject), token.session_id)
