"""Moves the tokens of a vector in time: the times of vectors are fixed, the clock of an endpoint is not.

Only the digits of times change; every other detail of the JSON and its encoding stays. The token is then signed again
in the same way.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error
from typing import Any, Final

from tests.support.vector_keys import NOW
from tests.vectors.suite.signers import signer_of

Json = dict[str, Any]

# 1,790,000,000 to 1,809,999,999, whole numbers of ten digits; in UTF-16 and UTF-32 with zero octets between them.
_TIME: Final = re.compile(rb"(?<![1-9.])1\0*(?:7\0*9|8\0*0)(?:\0*[0-9]){7}(?!\0*[0-9])")
_SEGMENTS: Final = re.compile(rb"[^\s,\"]+\.[^\s,\"]*\.[^\s,\"]*")
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def move(vector: Json, seconds: int) -> Json:
    """Return a token, request or sequence vector that happens `seconds` later."""
    moved = dict(vector)
    if "now" in vector:
        moved["now"] = vector["now"] + seconds
    if "token" in vector:
        moved["token"] = _text(move_token(_octets(vector["token"]), seconds))
    if "authorization" in vector:
        moved["authorization"] = [_moved_field(field, seconds) for field in vector["authorization"]]
    if "steps" in vector:
        moved["steps"] = [move(step, seconds) for step in vector["steps"]]
    if "identity" in vector.get("expected", {}):
        identity = vector["expected"]["identity"]
        moved["expected"] = {"identity": {name: _moved_times(value, seconds) for name, value in identity.items()}}
    return moved


def move_token(token: bytes, seconds: int) -> bytes:
    """Return the token with its times `seconds` later, signed by the signer that signed it.

    A signature that no signer made is kept: it is wrong for both.
    """
    segments = token.split(b".")
    for index in range(1, len(segments)):
        octets = _decoded(segments[index])
        changed = _TIME.sub(lambda found: _later(found[0], seconds), octets)
        if changed == octets:
            continue
        before = b".".join(segments[index - 1 : index + 1]).lstrip()
        segments[index] = _respelled(segments[index], changed)
        after = b".".join(segments[index - 1 : index + 1]).lstrip()
        for position in range(index + 1, len(segments)):
            signature = _decoded(segments[position])
            if sign := signer_of(before, signature):
                segments[position] = _respelled(segments[position], sign(after))
    return b".".join(segments)


def _moved_field(field: str, seconds: int) -> str:
    return _text(_SEGMENTS.sub(lambda found: move_token(found[0], seconds), _octets(field)))


def _moved_times(text: str, seconds: int) -> str:
    return _text(_TIME.sub(lambda found: _later(found[0], seconds), _octets(text)))


def _later(digits: bytes, seconds: int) -> bytes:
    """Return the later time with as many digits, and with the zero octets of the original."""
    later = iter(str(int(digits.replace(b"\0", b"")) + seconds).encode())
    return bytes(octet and next(later) for octet in digits)


def _decoded(segment: bytes) -> bytes:
    """Decode like the most permissive decoder: any alphabet, padding, spare bits and foreign octets."""
    characters = bytes(c for c in segment.translate(_TO_STANDARD) if c in _ALPHABET)
    try:
        return b64decode(characters[: len(characters) - (len(characters) % 4 == 1)] + b"===")
    except Error:
        return b""


def _respelled(segment: bytes, octets: bytes) -> bytes:
    """Return `octets` spelled as `segment`, which encodes as many: alphabet, padding, spare bits, foreign octets."""
    encoded = iter(b64encode(octets).rstrip(b"="))
    standard = segment.translate(_TO_STANDARD)
    spelled = bytearray(next(encoded, character) if character in _ALPHABET else character for character in standard)
    last = max((position for position, c in enumerate(standard) if c in _ALPHABET), default=None)
    spare = {1: 4, 2: 2}.get(len(octets) % 3, 0)
    if last is not None and spare:
        spelled[last] = _ALPHABET[_ALPHABET.index(spelled[last]) | _ALPHABET.index(standard[last]) & (1 << spare) - 1]
    other_alphabet = standard != segment or not any(c in b"+/" for c in segment)
    return bytes(spelled).translate(bytes.maketrans(b"+/", b"-_")) if other_alphabet else bytes(spelled)


def _octets(text: str) -> bytes:
    return text.encode("latin-1")


def _text(octets: bytes) -> str:
    return octets.decode("latin-1")


BASE: Final = NOW
"""A time near those of the vectors, in seconds since the epoch."""
