"""Finds the one token in the `Cookie` field."""

from verifier.decision.reasons import RejectionReason


def cookie_token(cookies: bytes | None, name: bytes) -> bytes | RejectionReason | None:
    """Return the value of the one cookie of this name, byte for byte; None if there is none.

    Two cookies of one name are rejected: which of them an application would use is not defined (RFC 6265 §4.2.2).
    """
    if cookies is None:
        return None
    found: list[bytes] = []
    for pair in cookies.split(b";"):
        key, separator, value = pair.strip(b" \t").partition(b"=")
        if separator and key == name:
            found.append(value)
    if not found:
        return None
    token = found[0]
    if len(found) > 1 or not token or b" " in token or b"," in token or b"\t" in token:
        return RejectionReason.MALFORMED_CREDENTIALS
    return token
