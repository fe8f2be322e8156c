"""The token response of RFC 6749 §5.1, for logins, refreshes and client credentials."""

from typing import Final

from starlette.responses import JSONResponse, Response

from issuer.sessions.models import TokenPair
from issuer.tokens.models import SignedAccessToken

_NO_CACHE: Final = {"Pragma": "no-cache"}
"""Required by §5.1 beside `Cache-Control: no-store`, which is the default of every response."""


def token_response(issued: TokenPair | SignedAccessToken) -> Response:
    """Respond 200 with the tokens."""
    document: dict[str, str | int]
    match issued:
        case TokenPair(access_token=token, refresh_token=refresh_token):
            document = _document(token, issued.expires_in) | {"refresh_token": refresh_token, "scope": issued.scope}
        case SignedAccessToken(token=token):
            # The grammar of RFC 6749 §3.3 has no empty scope, so a client without scope gets no such member.
            document = _document(token, issued.expires_in) | ({"scope": issued.scope} if issued.scope else {})
    return JSONResponse(document, headers=_NO_CACHE)


def _document(access_token: str, expires_in: int) -> dict[str, str | int]:
    return {"access_token": access_token, "token_type": "Bearer", "expires_in": expires_in}
