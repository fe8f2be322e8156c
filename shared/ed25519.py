"""Says whether 32 bytes are a public key of Ed25519 that can be trusted (RFC 8032 §5.1.3).

`cryptography` reads any 32 bytes as such a key. A value that is no point of the curve verifies nothing; a point of
small order verifies signatures that anyone can make. Key sets are read rarely, so plain integers are fast enough.
"""

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1: Final = pow(2, (_P - 1) // 4, _P)
_KEY_BYTES: Final = 32
_COFACTOR_DOUBLINGS: Final = 3
"""The cofactor is 8: three doublings bring every point of small order to the identity, and no other."""


def is_trustworthy_point(encoded: bytes) -> bool:
    """Return whether `encoded` is the one encoding of a point on the curve whose order is not small."""
    if len(encoded) != _KEY_BYTES:
        return False
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    x = _recover_x(y, sign)
    if x is None:
        return False
    for _ in range(_COFACTOR_DOUBLINGS):
        x, y = _double(x, y)
    return (x, y) != (0, 1)


def _recover_x(y: int, sign: int) -> int | None:
    """Solve x² = (y² - 1) / (d·y² + 1), as RFC 8032 §5.1.3 does; None if there is no x of that sign."""
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * _SQRT_MINUS_1 % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    return x if x % 2 == sign else _P - x


def _double(x: int, y: int) -> tuple[int, int]:
    """Add a point to itself by the addition law of the curve, which has no exceptions."""
    product = _D * x * x * y * y
    doubled_x = 2 * x * y * pow(1 + product, -1, _P)
    doubled_y = (y * y + x * x) * pow(1 - product, -1, _P)
    return doubled_x % _P, doubled_y % _P
