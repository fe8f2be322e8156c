"""PyJWT and joserfc with their strictest options, as reference implementations."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, tzinfo
from typing import Any, Final

import jwt
import pytest
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jws import JWSRegistry

from tests.support.vectors import load
from verifier.decision.policy import Policy

PUBLISHED: Final[dict[str, dict[str, Any]]] = load("key-sets")
REQUIRED: Final = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]

# joserfc can reject long headers and unknown members; RFC 7515 §4 ignores the latter, and so do we.
_REGISTRY: Final = JWSRegistry(strict_check_header=False)
_REGISTRY.max_header_length = 8192


def published_keys(key_sets: str) -> list[dict[str, Any]]:
    """Return all JWKs of a named key set, of all issuers."""
    return [jwk for document in PUBLISHED[key_sets].values() for jwk in document["keys"]]


@contextmanager
def pyjwt_at(now: float) -> Iterator[None]:
    """Set the clock of PyJWT, which takes no time as an argument."""

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Frozen":
            return cls.fromtimestamp(now, tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jwt.api_jwt.datetime", Frozen)
        yield


def pyjwt_accepts(token: bytes, keys: list[dict[str, Any]], policy: Policy, now: float) -> bool:
    """Return whether `jwt.decode` accepts the token, with the key of its `kid`, RS256 only and all its checks."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        candidates = [key for key in keys if key.get("kid") == kid and key["kty"] == "RSA"]
    except jwt.PyJWTError:
        return False
    return any(_pyjwt_accepts(token, key, policy, now) for key in candidates)


def _pyjwt_accepts(token: bytes, key: dict[str, Any], policy: Policy, now: float) -> bool:
    with pyjwt_at(now):
        try:
            jwt.decode(  # noqa: TID251 - the reference that the verifier is compared with
                token,
                jwt.PyJWK(key, algorithm="RS256").key,
                algorithms=["RS256"],
                audience=sorted(policy.audiences),
                issuer=sorted(policy.issuers),
                leeway=policy.leeway_seconds,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError:
            return False
    return True


def joserfc_accepts(token: bytes, keys: list[dict[str, Any]], policy: Policy, now: float) -> bool:
    """Return whether `joserfc.jwt.decode` and its claims registry accept the token, by its `kid` and RS256."""
    claims = jose_jwt.JWTClaimsRegistry(
        now=lambda: now,  # type: ignore[arg-type,return-value]  # compares numbers, and a boundary may be a fraction
        leeway=policy.leeway_seconds,
        **{name: {"essential": True} for name in REQUIRED},  # type: ignore[arg-type]  # its stub knows the registered claims alone
    )
    claims.options["iss"] = {"essential": True, "values": sorted(policy.issuers)}
    claims.options["aud"] = {"essential": True, "values": sorted(policy.audiences)}
    kid = _kid(token)
    candidates = [key for key in keys if key.get("kid") == kid and key["kty"] == "RSA"]
    return any(_joserfc_accepts(token, {**key, "alg": "RS256"}, claims) for key in candidates)


def _joserfc_accepts(token: bytes, key: dict[str, Any], claims: jose_jwt.JWTClaimsRegistry) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of short keys, which it takes
        try:
            claims.validate(jose_jwt.decode(token, jose_jwk.RSAKey.import_key(key), ["RS256"], _REGISTRY).claims)
        except (JoseError, ValueError, RecursionError):
            return False
    return True


def _kid(token: bytes) -> Any:
    try:
        return jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError:
        return None
