"""A straightforward service: Starlette, and PyJWT's `jwt.decode` on every request."""

import os
from pathlib import Path

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.jwks import parse_jwks

_KEYS = parse_jwks(Path(os.environ["BENCHMARK_JWKS_FILE"]).read_bytes()).keys
_ISSUER = os.environ["BENCHMARK_ISSUER"]
_AUDIENCE = os.environ["BENCHMARK_AUDIENCE"]


async def verify(request: Request) -> Response:
    """Return 200 for a token that PyJWT accepts, 401 for every other request."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        key = _KEYS[jwt.get_unverified_header(token)["kid"]].rsa
        jwt.decode(  # noqa: TID251 - the contender is what PyJWT does, not what our verifier does
            token, key, algorithms=["RS256"], audience=_AUDIENCE, issuer=_ISSUER, options={"require": ["exp"]}
        )
    except (jwt.InvalidTokenError, KeyError):
        return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
    return Response(status_code=200 if scheme.lower() == "bearer" else 401)


app = Starlette(routes=[Route("/verify", verify)])
