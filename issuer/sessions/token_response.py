"""The answer of RFC 6749 §5.1, the same wherever tokens are given out."""

from typing import Final

from issuer.sessions.models import TokenPair

NO_CACHE: Final = {"Pragma": "no-cache"}
"""What §5.1 demands beside `Cache-Control: no-store`, which every answer has that names no other."""


def token_document(issued: TokenPair) -> dict[str, str | int]:
    """As JSON members."""
    return {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "refresh_token": issued.refresh_token,
        "scope": issued.scope,
    }
