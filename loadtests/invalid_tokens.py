"""Makes invalid tokens from a valid one, and reads a token's key id without verifying it. Pure."""

import json
from typing import Any

from shared import base64url


def kid_of(token: str) -> str:
    """Return the `kid` of a token's header."""
    return str(_decode(token.partition(".")[0])["kid"])


def corrupt(token: str) -> dict[str, str | None]:
    """Return invalid variants of a valid token, by description; None stands for no token at all."""
    head, payload, signature = token.split(".")
    unsigned = _encode({"alg": "none", "typ": "at+jwt"})
    middle = len(signature) // 2
    flipped = "A" if signature[middle] != "A" else "B"
    return {
        "no token": None,
        "text that is no token": "let-me-in",
        "a token with another signature": f"{head}.{payload}.{signature[:middle]}{flipped}{signature[middle + 1 :]}",
        "a token with other claims": f"{head}.{_encode({**_decode(payload), 'scope': 'admin'})}.{signature}",
        "a token without a signature": f"{unsigned}.{payload}.",
        "a truncated token": token[:-16],
    }


def _encode(part: dict[str, Any]) -> str:
    return base64url.encode(json.dumps(part, separators=(",", ":")).encode())


def _decode(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64url.decode(part))
    return found
