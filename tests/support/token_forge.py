"""Creates valid and invalid access tokens, as an issuer or an attacker would.

It signs with `cryptography` directly, since JWT libraries refuse to create invalid tokens.
"""

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from shared.jwks import format_jwks, thumbprint

ISSUER = "https://issuer.example"
AUDIENCE = "gatepass"


def b64url(data: bytes) -> bytes:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def header_of(token: str) -> dict[str, Any]:
    """Return the JOSE header of a token, without verification."""
    return _object(token.split(".", maxsplit=1)[0])


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, which is not verified."""
    return _object(token.split(".")[1])


def _object(segment: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=="))
    return read


def accepting(*issuers: str) -> str:
    """Return the policy `default` of a verifier that accepts tokens of several issuers, as TOML."""
    return f"[policies.default]\nissuers = {json.dumps(issuers)}\n"


@dataclass(frozen=True)
class Forge:
    """A signing key and the claims that it signs by default."""

    issuer: str = ISSUER
    key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(65537, 2048), repr=False)

    @property
    def kid(self) -> str:
        return thumbprint(self.key.public_key())

    @property
    def jwks(self) -> bytes:
        return format_jwks([self.key.public_key()])

    def publish(self, folder: Path) -> Path:
        """Write the key set to a file; return its path."""
        path = folder / "jwks.json"
        path.write_bytes(self.jwks)
        return path

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        """Return the claims of contract A. A change to `...` removes the claim."""
        claims = {
            "iss": self.issuer,
            "sub": "7b7f6f3e-3a51-4f0e-9d0c-3f1f6c1c2a10",
            "aud": AUDIENCE,
            "exp": int(now) + 600,
            "iat": int(now),
            "jti": "b0a5a2a4-7a52-4f0f-8f6c-111111111111",
            "client_id": "gatepass",
            "scope": "profile",
            "auth_time": int(now),
            "sid": "51d0a7f6-0000-4000-8000-000000000001",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def header(self, **changes: Any) -> dict[str, Any]:
        """Return the JOSE header of contract A. A change to `...` leaves the member out."""
        header = {"alg": "RS256", "kid": self.kid, "typ": "at+jwt", **changes}
        return {name: value for name, value in header.items() if value is not ...}

    def token(self, now: float, header: dict[str, Any] | None = None, **changes: Any) -> bytes:
        """Return a token signed by this key; `header` and `changes` as in `header()` and `claims()`."""
        return self.sign(
            json.dumps(self.header(**(header or {}))).encode(), json.dumps(self.claims(now, **changes)).encode()
        )

    def list_claims(self, now: float, uri: str, lst: str, **changes: Any) -> dict[str, Any]:
        """Return the claims of a status list (contract E). A change to `...` removes the claim."""
        status_list = {"bits": 1, "lst": lst}
        claims = {"sub": uri, "iat": int(now), "exp": int(now) + 3600, "status_list": status_list, **changes}
        return {name: value for name, value in claims.items() if value is not ...}

    def status_list(
        self, now: float, uri: str, lst: str, header: dict[str, Any] | None = None, **changes: Any
    ) -> bytes:
        """Return a status list token signed by this key; `header`, `changes`: see `header()`, `list_claims()`."""
        head = self.header(**{"typ": "statuslist+jwt", **(header or {})})
        return self.sign(json.dumps(head).encode(), json.dumps(self.list_claims(now, uri, lst, **changes)).encode())

    def sign(self, header: bytes, payload: bytes) -> bytes:
        """Sign any two byte strings as the header and payload of a compact JWS."""
        signing_input = b64url(header) + b"." + b64url(payload)
        return signing_input + b"." + b64url(self.key.sign(signing_input, PKCS1v15(), SHA256()))
