"""Constants of the access token, which issuer and verifier share: RFC 9068 in a compact RS256 JWS (RFC 7515).

Contract A, in words: `specs/001-register-login-verify/contracts/access-token.md`.
"""

from typing import Final

ALGORITHM: Final = "RS256"
"""RFC 7518 §3.3. A constant and not a setting: attacks on JWTs exploit a choice of algorithms (RFC 8725 §2.1)."""

TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - a media type, not a secret
"""RFC 9068 §2.1: distinguishes an access token from every other JWT that the same key may sign."""

MAX_ISSUED_TOKEN_BYTES: Final = 4096
"""Highest size budget of the issuer's tokens. Clients send one with every request: by default nginx reads header
lines of 8 KiB, and browsers store cookies of 4 KiB."""

MAX_TOKEN_BYTES: Final = 8192
"""Largest token that the verifier reads, checked before any parsing."""

MAX_HEADER_BYTES: Final = 1024
"""Largest encoded JOSE header that the verifier reads."""

MAX_LIFETIME_SECONDS: Final = 3600
"""Longest lifetime that the issuer grants. It limits how long a leaked token is valid."""

REVOCATION_RETENTION_SECONDS: Final = MAX_LIFETIME_SECONDS + 120
"""Time for which a revocation is published: the maximum lifetime of a token and the maximum leeway of a verifier."""

MIN_KEY_BITS: Final = 2048
"""Smallest RSA key (RFC 7518 §3.3)."""
