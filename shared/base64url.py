"""Base64url without padding (RFC 4648 §5, RFC 7515 §2), in the one canonical spelling of each byte string.

If a second spelling were accepted, the same token could evade a denylist of hashes, and fill a cache.
"""

from binascii import a2b_base64, b2a_base64
from typing import Final

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_FROM_STANDARD: Final = bytes.maketrans(b"+/", b"-_")
# `+`, `/` and `=` become `!`, which is in no alphabet: the strict decoder rejects them.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
# The bits of the last character that encode nothing must be zero (RFC 4648 §3.5).
_CANONICAL_FINAL_CHARACTERS: Final = {1: b"", 2: _ALPHABET[::16], 3: _ALPHABET[::4]}


def encode(octets: bytes) -> str:
    """Return `octets` as base64url without padding."""
    return b2a_base64(octets, newline=False).rstrip(b"=").translate(_FROM_STANDARD).decode()


def decode(text: str | bytes) -> bytes:
    """Return the bytes that `text` encodes.

    Raises:
        ValueError: not canonical: padding, another alphabet, white space, an impossible length, or unused bits that
            are not zero.
    """
    encoded = text.encode("ascii") if isinstance(text, str) else text
    remainder = len(encoded) % 4
    if remainder and encoded[-1:] not in _CANONICAL_FINAL_CHARACTERS[remainder]:
        raise ValueError("not canonical base64url")
    return a2b_base64(encoded.translate(_TO_STANDARD) + b"=" * (-remainder % 4), strict_mode=True)
