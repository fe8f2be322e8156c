"""Token Status Lists (draft-ietf-oauth-status-list-20): what both sides agree on. One bit for each token."""

import base64
import zlib
from collections.abc import Iterable
from typing import Final

LIST_BITS: Final = 2**20
MEDIA_TYPE: Final = "application/statuslist+jwt"
TOKEN_TYPE: Final = "statuslist+jwt"  # noqa: S105 - a media type, not a secret


def pack(indices: Iterable[int], bits: int = LIST_BITS) -> bytes:
    """The list as bytes: index 0 is the least significant bit of the first byte (§4.1)."""
    packed = bytearray(bits // 8)
    for index in indices:
        packed[index >> 3] |= 1 << (index & 7)
    return bytes(packed)


def encode(packed: bytes) -> str:
    """`lst`: compressed, base64url without padding (§4.2)."""
    return base64.urlsafe_b64encode(zlib.compress(packed, 6)).rstrip(b"=").decode()
