"""Finds the one token in the `Cookie` field."""

from shared.cookies import cookie_values
from verifier.decision.reasons import RejectionReason


def cookie_token(cookies: bytes | None, name: bytes) -> bytes | RejectionReason | None:
    """Return the value of the one cookie of this name, byte for byte; None if there is none.

    Two cookies of one name are rejected: which of them an application would use is not defined (RFC 6265 §4.2.2).
    """
    found = cookie_values(cookies, name)
    if not found:
        return None
    token = found[0]
    if len(found) > 1 or not token or b" " in token or b"," in token or b"\t" in token:
        return RejectionReason.MALFORMED_CREDENTIALS
    return token
