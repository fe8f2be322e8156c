"""The bearer token of a request (RFC 6750 §2.1): from the Authorization field, and from nowhere else."""

import re
from typing import Final

from starlette.requests import Request

from issuer.errors import InvalidTokenError, MissingTokenError

_BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


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
