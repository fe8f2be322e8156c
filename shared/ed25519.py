"""Checks that 32 bytes are a secure public key of Ed25519 (RFC 8032 §5.1.3).

`cryptography` accepts any 32 bytes as such a key. A value that is not a point of the curve verifies no signature; a
point of small order verifies signatures that were made without a private key. Key sets are read rarely, so plain
integers are fast enough: a tenth of a millisecond for a key, nearly all of it for the exponentiation.
"""

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_KEY_BYTES: Final = 32
_Y_OF_ORDER_8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER: Final = frozenset({1, _P - 1, 0, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})
"""The y of all points of order 1, 2, 4 and 8. All other points have at least the order of the base point."""


def is_trustworthy_point(encoded: bytes) -> bool:
    """Return whether `encoded` is the canonical encoding of a point on the curve whose order is not small."""
    if len(encoded) != _KEY_BYTES:
        return False
    # The highest bit chooses between x and -x, which differ for every point that is accepted here.
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    if y >= _P or y in _SMALL_ORDER:
        return False
    # A point with this y exists if x² = (y² - 1) / (d·y² + 1) has a solution: if that quotient is a square. It is a
    # square if the product of numerator and denominator is one, and then this power is 1 (Euler's criterion).
    return pow((y * y - 1) * (_D * y * y + 1), (_P - 1) // 2, _P) == 1
