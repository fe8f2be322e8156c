"""The members of a token response (RFC 6749 §5.1)."""

import json

from issuer.sessions.models import TokenPair
from issuer.sessions.token_response import token_response
from issuer.tokens.models import SignedAccessToken

ACCESS = {"access_token": "an access token", "token_type": "Bearer", "expires_in": 600}


def test_a_user_gets_both_tokens_and_their_scope() -> None:
    response = token_response(TokenPair("an access token", "a refresh token", 600, 3600, "read write"))
    assert json.loads(bytes(response.body)) == ACCESS | {"refresh_token": "a refresh token", "scope": "read write"}
    assert response.headers["pragma"] == "no-cache"


def test_a_machine_gets_no_refresh_token_and_no_empty_scope() -> None:
    response = token_response(SignedAccessToken("an access token", 600, "read"))
    assert json.loads(bytes(response.body)) == ACCESS | {"scope": "read"}
    assert json.loads(bytes(token_response(SignedAccessToken("an access token", 600, "")).body)) == ACCESS
