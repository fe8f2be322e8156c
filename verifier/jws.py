"""The strict reading of a compact JWS that access tokens and status list tokens share: its form and its header.

Nothing here knows a key or judges what a token says.
"""

from binascii import a2b_base64
from functools import lru_cache
from typing import Final, NamedTuple

from shared.strict_json import StrictJsonError, parse_object
from verifier.policies import normalise_type
from verifier.reasons import Reason

BASE64URL: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Header(NamedTuple):
    """The members of a JOSE header that we go by; empty where there is none."""

    algorithm: str
    type: str
    kid: str


@lru_cache(maxsize=256)
def read_header(encoded: bytes) -> Header | Reason:
    """A header segment (RFC 7515 §4). Remembered, since an issuer's tokens share a handful of headers.

    Args:
        encoded: bytes of the base64url alphabet, bounded by the caller.
    """
    try:
        header = decode(encoded)
    except ValueError:
        return Reason.MALFORMED
    try:
        members = parse_object(header)
    except StrictJsonError:
        return Reason.INVALID_HEADER
    values = [members.get(name, "") for name in ("alg", "typ", "kid")]
    if not _CHANGE_THE_READING.isdisjoint(members) or not all(type(value) is str for value in values):
        return Reason.INVALID_HEADER
    return Header(values[0], normalise_type(values[1]), values[2])


def decode(segment: bytes) -> bytes:
    """Canonical base64url: no padding, the unused bits of the last character zero (RFC 4648 §3.5).

    A second spelling of one token would dodge a denial by hash and flood a cache.

    Raises:
        ValueError: not canonical. The alphabet is the caller's to check.
    """
    surplus = len(segment) % 4
    if surplus and segment[-1:] not in _LAST_CHARACTER[surplus]:
        raise ValueError
    return a2b_base64(segment.translate(_TO_STANDARD) + b"=" * (-surplus % 4))


_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_LAST_CHARACTER: Final = {1: b"", 2: BASE64URL[::16], 3: BASE64URL[::4]}

# RFC 7515 and RFC 7516 header parameters that alter what is signed, how it is read, or whose key counts.
_CHANGE_THE_READING: Final = frozenset(
    {"crit", "b64", "zip", "enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c", "cty"}
    | {"jwk", "jku", "x5u", "x5c"}
)
