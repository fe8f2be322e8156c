"""A straightforward service: Starlette, asyncpg, argon2-cffi and PyJWT, without what a login service also needs.

It has no rate limits, audit trail, reuse detection, revocation at gateways, strict parsing or logs. The issuer's
processor time is compared with that of this application.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, unquote

import asyncpg  # noqa: TID251 - an application of its own
import jwt
from argon2 import PasswordHasher  # noqa: TID251 - an application of its own
from argon2.exceptions import VerifyMismatchError  # noqa: TID251 - an application of its own
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ISSUER = os.environ["BENCHMARK_ISSUER"]
AUDIENCE = "gatepass"
LIFETIME_SECONDS = 600

# The same cost as the issuer's; argon2-cffi's own default is higher.
_hasher = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_key = rsa.generate_private_key(65537, 2048)
_public = jwt.algorithms.RSAAlgorithm.to_jwk(_key.public_key(), as_dict=True)
_key_set = {"keys": [{**_public, "kid": "1", "use": "sig", "alg": "RS256"}]}


@contextlib.asynccontextmanager
async def _database(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["BENCHMARK_DATABASE_URL"], min_size=10, max_size=10) as pool:
        app.state.pool = pool
        yield


def _token(subject: str, scope: str) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": subject,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "scope": scope,
    }
    claims["jti"] = secrets.token_urlsafe(16)
    return jwt.encode(claims, _key, "RS256", {"kid": "1", "typ": "at+jwt"})


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _tokens(subject: str, refresh_token: str) -> Response:
    return JSONResponse(
        {
            "access_token": _token(subject, "profile"),
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "refresh_token": refresh_token,
        }
    )


async def login(request: Request) -> Response:
    """Return 200 and tokens, or 401."""
    body, pool = await request.json(), request.app.state.pool
    row = await pool.fetchrow("SELECT id, password_hash FROM naive.accounts WHERE email = $1", body["email"].lower())
    try:
        if row is None:
            return Response(status_code=401)
        await asyncio.to_thread(_hasher.verify, row["password_hash"], body["password"])
    except VerifyMismatchError:
        return Response(status_code=401)
    refresh_token = secrets.token_urlsafe(32)
    await pool.execute(
        "INSERT INTO naive.refresh_tokens VALUES ($1, $2, now() + interval '30 days')",
        _digest(refresh_token),
        row["id"],
    )
    return _tokens(str(row["id"]), refresh_token)


async def token(request: Request) -> Response:
    """Return the response to either grant."""
    form = dict(parse_qsl((await request.body()).decode()))
    if form.get("grant_type") == "refresh_token":
        return await _refresh(request.app.state.pool, form["refresh_token"])
    if form.get("grant_type") == "client_credentials":
        return await _client_credentials(request)
    return JSONResponse({"error": "unsupported_grant_type"}, 400)


async def _refresh(pool: asyncpg.Pool, presented: str) -> Response:
    successor = secrets.token_urlsafe(32)
    async with pool.acquire() as connection, connection.transaction():
        account_id = await connection.fetchval(
            "DELETE FROM naive.refresh_tokens WHERE hash = $1 AND expires_at > now() RETURNING account_id",
            _digest(presented),
        )
        if account_id is None:
            return JSONResponse({"error": "invalid_grant"}, 400)
        await connection.execute(
            "INSERT INTO naive.refresh_tokens VALUES ($1, $2, now() + interval '30 days')",
            _digest(successor),
            account_id,
        )
    return _tokens(str(account_id), successor)


async def _client_credentials(request: Request) -> Response:
    encoded = request.headers.get("authorization", "").removeprefix("Basic ")
    client_id, _, secret = map(unquote, base64.b64decode(encoded).decode().partition(":"))
    row = await request.app.state.pool.fetchrow(
        "SELECT secret_hash, scope FROM naive.clients WHERE id = $1", client_id
    )
    if row is None or not hmac.compare_digest(row["secret_hash"], _digest(secret)):
        return JSONResponse({"error": "invalid_client"}, 401)
    document = {
        "access_token": _token(client_id, row["scope"]),
        "token_type": "Bearer",
        "expires_in": LIFETIME_SECONDS,
    }
    return JSONResponse(document)


async def me(request: Request) -> Response:
    """Return 200 and the bearer's account."""
    presented = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        claims = jwt.decode(  # noqa: TID251 - the contender does what PyJWT does
            presented, _key.public_key(), algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER
        )
    except jwt.InvalidTokenError:
        return Response(status_code=401)
    row = await request.app.state.pool.fetchrow(
        "SELECT id, email, created_at FROM naive.accounts WHERE id = $1", claims["sub"]
    )
    if row is None:
        return Response(status_code=401)
    return JSONResponse(json.loads(json.dumps(dict(row), default=str)))


async def key_set(_: Request) -> Response:
    """Return 200 and the public key."""
    return JSONResponse(_key_set)


app = Starlette(
    routes=[
        Route("/login", login, methods=["POST"]),
        Route("/token", token, methods=["POST"]),
        Route("/me", me),
        Route("/.well-known/jwks.json", key_set),
    ],
    lifespan=_database,
)
