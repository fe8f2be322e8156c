"""Strict parser of the form bodies of the OAuth endpoints (RFC 6749 appendix B).

Only `application/x-www-form-urlencoded` is accepted, of at most 64 KiB and 32 parameters, in UTF-8 after percent
decoding. A repeated parameter is rejected, whatever its name; a parameter without a value counts as not sent; unknown
parameters are ignored (RFC 6749 §3.2). Errors never quote what was sent.
"""

import re
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from issuer.errors import InvalidRequestError, InvalidTargetError
from issuer.http.request_body import has_media_type, read_bounded

_MAX_PARAMETERS: Final = 32
_MEDIA_TYPE: Final = re.compile(r'application/x-www-form-urlencoded\s*(;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)
# A percent sign with two digits, or a visible ASCII character: no raw control character, blank or high byte.
_ENCODED: Final = re.compile(r"(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters of a form, without empty ones.

    Raises:
        InvalidTargetError: several resources are requested.
        InvalidRequestError: it is not a form, or a parameter is repeated.
        ContentTooLargeError: it is longer than the limit.
    """
    if not has_media_type(request, _MEDIA_TYPE):
        raise InvalidRequestError
    return parse_form(await read_bounded(request))


def parse_form(data: bytes) -> dict[str, str]:
    """Return the parameters in `data`, without empty ones.

    Raises:
        InvalidTargetError: several resources are requested.
        InvalidRequestError: it is malformed, or a parameter is repeated.
    """
    try:
        text = data.decode("ascii")
        if not _ENCODED.fullmatch(text):
            raise InvalidRequestError
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        # Without its cause: the message of a decoder quotes its input.
        raise InvalidRequestError from None
    if [name for name, _ in pairs].count("resource") > 1:
        # RFC 8707 §2 allows several, and also to reject them. Here an access token has one audience.
        raise InvalidTargetError
    parameters = dict(pairs)
    if len(parameters) != len(pairs) or any("\0" in value for value in parameters.values()):
        raise InvalidRequestError
    return {name: value for name, value in parameters.items() if value}
