"""Fixtures for all contenders: one key, 1,000 valid tokens, and some that must be rejected.

The private key is new in each run and never leaves this module; tokens are valid for an hour.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.access_token import ALGORITHM, MAX_LIFETIME_SECONDS, MIN_KEY_BITS, TOKEN_TYPE
from shared.jwks import format_jwks, thumbprint

TOKENS: Final = 1000
ISSUER: Final = "https://issuer.gatepass.example"
AUDIENCE: Final = "gatepass"


@dataclass(frozen=True, slots=True)
class Fixtures:
    """Files that servers and load read, and what the acceptance check sends itself.

    Attributes:
        jwks: the public key, as a JWK Set.
        public_key: the same, as PEM, for HAProxy.
        tokens: the valid tokens, one per line.
        valid: the same tokens.
        invalid: tokens that every contender must reject, by what is wrong with each.
        invalid_for_hardened: tokens that a hardened contender must reject too.
        issuer, audience: the `iss` and `aud` of valid tokens.
        max_lifetime: the longest `exp` - `iat` to accept, in seconds.
    """

    jwks: Path
    public_key: Path
    tokens: Path
    valid: tuple[str, ...]
    invalid: Mapping[str, str]
    invalid_for_hardened: Mapping[str, str]
    issuer: str = ISSUER
    audience: str = AUDIENCE
    max_lifetime: int = MAX_LIFETIME_SECONDS


def make_fixtures(directory: Path) -> Fixtures:
    """Sign the tokens (about a second) and write the files into `directory`."""
    key = generate_private_key(65537, MIN_KEY_BITS)
    valid = tuple(_sign(key, claims()) for _ in range(TOKENS))
    jwks, public_key, tokens = (directory / name for name in ("jwks.json", "public.pem", "tokens.txt"))
    jwks.write_bytes(format_jwks([key.public_key()]))
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public_key.write_bytes(pem)
    tokens.write_text("\n".join(valid) + "\n")
    return Fixtures(jwks, public_key, tokens, valid, _invalid_tokens(key, valid[0]), _invalid_for_hardened(key))


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a registered user's token as the issuer writes it (contract A)."""
    now = int(time.time())
    return {
        "iss": ISSUER,
        "sub": str(uuid.uuid4()),
        "aud": AUDIENCE,
        "exp": now + MAX_LIFETIME_SECONDS,
        "iat": now,
        "jti": str(uuid.uuid4()),
        "client_id": "gatepass",
        "scope": "profile",
        "auth_time": now,
        "sid": str(uuid.uuid4()),
        **changes,
    }


def _invalid_tokens(key: RSAPrivateKey, valid: str) -> dict[str, str]:
    now = int(time.time())
    hour_ago = now - 3600
    other_key = generate_private_key(65537, MIN_KEY_BITS)
    head, body, signature = valid.split(".")
    other_body = _sign(key, claims()).split(".")[1]
    return {
        "a tampered signature": f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}",
        "tampered claims": f"{head}.{other_body}.{signature}",
        "another's key under our kid": _sign(other_key, claims(), kid=thumbprint(key.public_key())),
        "an expired token": _sign(key, claims(exp=hour_ago, iat=hour_ago - 600)),
        "another issuer": _sign(key, claims(iss="https://elsewhere.example")),
        "another audience": _sign(key, claims(aud="elsewhere")),
    }


def _invalid_for_hardened(key: RSAPrivateKey) -> dict[str, str]:
    """Return tokens with a valid signature but without a required claim, or of another type."""
    names = ("exp", "iat", "jti", "sub", "client_id")
    lacking = {f"no {name}": _sign(key, {k: v for k, v in claims().items() if k != name}) for name in names}
    return lacking | {"another type": _sign(key, claims(), typ="JWT")}


def _sign(key: RSAPrivateKey, claims: dict[str, Any], kid: str = "", typ: str = TOKEN_TYPE) -> str:
    header = {"kid": kid or thumbprint(key.public_key()), "typ": typ}
    return jwt.encode(claims, key, ALGORITHM, header)
