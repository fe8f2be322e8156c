"""A strict parser of JSON (RFC 8259), for untrusted bytes.

It rejects what two parsers could read as different objects: duplicate member names at any depth, NaN and Infinity,
bytes that are not UTF-8, a byte order mark, trailing data, deep nesting. The top level must be an object.

`parse_open_object` is for the claims of access tokens. Unknown claims must be ignored (RFC 7519 §4), so it accepts
every well-formed value, and the caller checks the values that it uses. `parse_object` is for everything else. Like
I-JSON (RFC 7493 §2) it also rejects numbers and strings that implementations represent differently.
"""

import json
from typing import Any, Final

MAX_DEPTH: Final = 16
MAX_INTEGER: Final = 2**53 - 1
_MAX_NUMBER_CHARACTERS: Final = 32
_WHITESPACE: Final = " \t\r\n"

JsonObject = dict[str, Any]


class StrictJsonError(ValueError):
    """The bytes are not a strict JSON object. The message never quotes them."""


def parse_object(data: bytes) -> JsonObject:
    """Parse `data` as one JSON object whose values all implementations represent alike.

    Raises:
        StrictJsonError: `data` is anything else.
    """
    parsed = _parse(data, _strict_decoder)
    # Only an escape can produce a lone surrogate, with which the string cannot be encoded in UTF-8.
    if b"\\u" in data:
        try:
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise StrictJsonError("lone surrogate") from None
    return parsed


def parse_open_object(data: bytes) -> JsonObject:
    """Parse `data` as one JSON object with any values.

    A number may be infinite, or an integer beyond the precision of a double; a string may have lone surrogates. The
    only limit is that of Python: an integer of more than 4,300 digits is rejected (RFC 8259 §6 allows limits).

    Raises:
        StrictJsonError: `data` is anything else.
    """
    return _parse(data, _open_decoder)


def _parse(data: bytes, decoder: json.JSONDecoder) -> JsonObject:
    try:
        text = data.decode("utf-8").strip(_WHITESPACE)
        parsed, end = decoder.raw_decode(text)
    except StrictJsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictJsonError("not strict JSON") from error
    if type(parsed) is not dict or end != len(text):
        raise StrictJsonError("not one JSON object")
    # Deep nesting needs as many opening brackets, so counting them is enough for most documents.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _depth(parsed) > MAX_DEPTH:
        raise StrictJsonError("nested too deeply")
    return parsed


def _object(members: list[tuple[str, Any]]) -> JsonObject:
    distinct = dict(members)
    if len(distinct) != len(members):
        raise StrictJsonError("duplicate member")
    return distinct


def _integer(digits: str) -> int:
    if len(digits) > _MAX_NUMBER_CHARACTERS or not -MAX_INTEGER <= (value := int(digits)) <= MAX_INTEGER:
        raise StrictJsonError("integer out of range")
    if not value and digits != "0":
        raise StrictJsonError("negative zero")  # an integer to some readers, a floating point number to others
    return value


def _float(digits: str) -> float:
    if len(digits) > _MAX_NUMBER_CHARACTERS or not -MAX_INTEGER <= (value := float(digits)) <= MAX_INTEGER:
        raise StrictJsonError("number out of range")
    return value


def _reject_constant(name: str) -> None:
    raise StrictJsonError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    """Return the nesting depth of objects and arrays. Without recursion, since an attacker may choose the depth."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


_strict_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_reject_constant
)
_open_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_reject_constant)
