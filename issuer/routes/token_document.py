"""The answer of RFC 6749 §5.1, the same wherever tokens are given out."""

from issuer.sessions import IssuedTokens


def token_document(issued: IssuedTokens) -> dict[str, str | int]:
    """As JSON members."""
    return {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in,
        "refresh_token": issued.refresh_token,
        "scope": issued.scope,
    }
