"""The byte format of a Token Status List (draft-ietf-oauth-status-list-20 §4), which issuer and verifier share.

The member `lst` is compressed with ZLIB and encoded in base64url without padding. Index 0 is the least significant
bits of byte 0. The issuer writes one bit for each token. The verifier reads lists with 1, 2, 4 or 8 bits for each, of
which any value but 0 means that the token is revoked. Decompression is bounded.
"""

import zlib
from collections.abc import Iterable
from typing import Final

from shared import base64url

STATUS_LIST_TYPE: Final = "statuslist+jwt"
"""`typ` of a status list token (§5.1); never that of an access token."""
STATUS_LIST_MEDIA_TYPE: Final = "application/statuslist+jwt"
LIST_BITS: Final = 2**20
"""Number of indices in a list of our issuer, which has 128 KiB in memory."""
MAX_LIST_BYTES: Final = 2**20
"""The largest list that is read, decompressed. It has room for eight times as many tokens as ours."""
MAX_LIST_TOKEN_BYTES: Final = 512 * 1024
"""The largest status list token that is read. A list of `LIST_BITS` that cannot be compressed needs 234 KiB."""
MAX_LISTS: Final = 1024
"""Maximum number of lists in the aggregation of one issuer (§9.3)."""
BITS_PER_TOKEN: Final = frozenset({1, 2, 4, 8})

_LEVEL: Final = 6
"""Level 9, which the draft recommends, takes 4 to 16 times as long (70 ms with 1 % set), for 15 % fewer bytes."""


class StatusListError(ValueError):
    """The list must not be used. The message has the reason and never quotes the list."""


def pack(indices: Iterable[int], size: int) -> bytes:
    """Return a list of `size` bits (a multiple of 8) in which those at `indices` are set, uncompressed.

    Raises:
        StatusListError: an index or the size is invalid.
    """
    if size <= 0 or size % 8:
        raise StatusListError("the size is not a positive multiple of 8")
    octets = bytearray(size // 8)
    for index in indices:
        if not 0 <= index < size:
            raise StatusListError(f"index {index} is not in a list of {size} bits")
        octets[index >> 3] |= 1 << (index & 7)
    return bytes(octets)


def encode(octets: bytes) -> str:
    """Return `octets` as the member `lst`."""
    return base64url.encode(zlib.compress(octets, _LEVEL))


def decode(lst: str) -> bytes:
    """Return the bytes of the member `lst`, at most `MAX_LIST_BYTES`.

    Raises:
        StatusListError: not canonical base64url, not exactly one complete ZLIB stream, empty or larger. At most one
            byte more than the maximum is decompressed.
    """
    inflate = zlib.decompressobj()
    try:
        compressed = base64url.decode(lst)
    except ValueError as error:
        raise StatusListError("not canonical base64url") from error
    try:
        octets = inflate.decompress(compressed, MAX_LIST_BYTES + 1)
    except zlib.error as error:
        raise StatusListError("not a ZLIB stream") from error
    if len(octets) > MAX_LIST_BYTES:
        raise StatusListError(f"larger than {MAX_LIST_BYTES} bytes")
    if not inflate.eof:
        raise StatusListError("the ZLIB stream is incomplete")
    if inflate.unused_data:
        raise StatusListError("data after the ZLIB stream")
    if not octets:
        raise StatusListError("the list is empty")
    return octets
