"""Reads tokens without checking them, and makes of a good one what must open nothing. Pure."""

import base64
import json
from typing import Any


def kid_of(token: str) -> str:
    """The key that a token says it was signed with."""
    return str(_decoded(token.partition(".")[0])["kid"])


def spoilt(token: str) -> dict[str, str | None]:
    """What a good token can be turned into that opens nothing, by what it is."""
    head, payload, signature = token.split(".")
    unsigned = _encoded({"alg": "none", "typ": "at+jwt"})
    middle = len(signature) // 2
    flipped = "A" if signature[middle] != "A" else "B"
    return {
        "no token": None,
        "words that are no token": "let-me-in",
        "a token with another signature": f"{head}.{payload}.{signature[:middle]}{flipped}{signature[middle + 1 :]}",
        "a token with other claims": f"{head}.{_encoded({**_decoded(payload), 'scope': 'admin'})}.{signature}",
        "a token without a signature": f"{unsigned}.{payload}.",
        "a token cut short": token[:-16],
    }


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _decoded(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found
