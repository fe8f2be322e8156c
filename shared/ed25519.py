"""Checks that 32 bytes are a secure public key of Ed25519 (RFC 8032 §5.1.3).

`cryptography` accepts any 32 bytes as such a key. A value that is not a point of the curve verifies no signature; a
point of small order verifies signatures that were made without a private key. Key sets are read rarely, so plain
integers are fast enough: a tenth of a millisecond for a key, nearly all of it for the power in `_recover_x`.
"""

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1: Final = pow(2, (_P - 1) // 4, _P)
_KEY_BYTES: Final = 32
_COFACTOR_DOUBLINGS: Final = 3
"""The cofactor is 8: three doublings bring every point of small order to the identity, and no other."""


def is_trustworthy_point(encoded: bytes) -> bool:
    """Return whether `encoded` is the canonical encoding of a point on the curve whose order is not small."""
    if len(encoded) != _KEY_BYTES:
        return False
    number = int.from_bytes(encoded, "little")
    y, sign = number & (2**255 - 1), number >> 255
    x = _recover_x(y, sign)
    if x is None:
        return False
    z = 1
    for _ in range(_COFACTOR_DOUBLINGS):
        x, y, z = _double(x, y, z)
    return x != 0 or y != z


def _recover_x(y: int, sign: int) -> int | None:
    """Solve x² = (y² - 1) / (d·y² + 1), as RFC 8032 §5.1.3 does; None if there is no x of that sign."""
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P != u:
        x = x * _SQRT_MINUS_1 % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    return x if x % 2 == sign else _P - x


def _double(x: int, y: int, z: int) -> tuple[int, int, int]:
    """Add a point to itself, in projective coordinates (RFC 8032 §5.1.4). On this curve there are no exceptions."""
    a, b, c = x * x % _P, y * y % _P, 2 * z * z % _P
    e, g, h = (x + y) ** 2 - a - b, b - a, -a - b
    f = g - c
    return e * f % _P, g * h % _P, f * g % _P
