"""The bearer token of a request (RFC 6750 §2.1): from the Authorization field, and from nowhere else."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from starlette.requests import Request

from issuer.errors import InvalidTokenError, MissingTokenError
from issuer.tokens.access_token import AccessTokens

_BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose account a request is about, and from which session it comes."""

    user_id: UUID
    session_id: UUID


def bearer_token(request: Request) -> str:
    """The one token that `request` carries.

    Raises:
        MissingTokenError: it carries none.
        InvalidTokenError: it carries several, or something else.
    """
    fields = request.headers.getlist("authorization")
    if not fields:
        raise MissingTokenError
    found = _BEARER.fullmatch(fields[0]) if len(fields) == 1 else None
    if found is None:
        raise InvalidTokenError
    return found[1]


async def owner_of(request: Request, tokens: AccessTokens) -> Owner:
    """Who asks, by the access token of a session; whether that session still lives is not asked.

    Raises:
        MissingTokenError: there is no token.
        InvalidTokenError: it is not one of ours, not live, or a machine's.
    """
    bearer = await tokens.read(bearer_token(request))
    if bearer.session_id is None:
        raise InvalidTokenError
    return Owner(UUID(bearer.subject), bearer.session_id)
