"""Rejected JSON with its error, and values that only an open object may contain."""

import json
from collections.abc import Callable

import pytest

from shared.strict_json import StrictJsonError, parse_object, parse_open_object


@pytest.mark.parametrize("parse", [parse_object, parse_open_object])
@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"a":1,"a":2}', "duplicate member"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":' + b"[" * 16 + b"]" * 16 + b"}", "nested too deeply"),
        (b"[]", "not one JSON object"),
        (b"{}{}", "not one JSON object"),
        (b"{", "not strict JSON"),
        (b"", "not strict JSON"),
        (b"[" * 100_000, "not strict JSON"),
        (b'{"a":"\xff"}', "not strict JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not strict JSON"),
        (b'{"a":"\xed\xa0\x80"}', "not strict JSON"),
        (b'{"a":01}', "not strict JSON"),
        (b'{"a":"\n"}', "not strict JSON"),
    ],
)
def test_an_error_names_the_reason(parse: Callable[[bytes], object], document: bytes, why: str) -> None:
    with pytest.raises(StrictJsonError, match=f"^{why}$"):
        parse(document)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"9007199254740992", "integer out of range"),
        (b"-9007199254740992", "integer out of range"),
        (b"9" * 4300, "integer out of range"),
        (b"1E22", "number out of range"),
        (b"-1E22", "number out of range"),
        (b"123e65", "number out of range"),
        (b"1e400", "number out of range"),
        (b"0." + b"0" * 40, "number out of range"),
        (b"0." + b"0" * 5000 + b"1", "number out of range"),
        (b"-0", "negative zero"),
        (b'"\\udfff"', "lone surrogate"),
        (b'{"\\ud800":[]}', "lone surrogate"),
    ],
)
def test_only_an_open_object_may_hold_any_well_formed_value(value: bytes, why: str) -> None:
    document = b'{"a":[' + value + b"]}"
    assert parse_open_object(document) == json.loads(document)
    with pytest.raises(StrictJsonError, match=f"^{why}$"):
        parse_object(document)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"a":[{"\\ud800":1,"\\uD800":2}]}', "duplicate member"),
        (b'{"a":' + b"9" * 4301 + b"}", "not strict JSON"),
    ],
)
def test_an_open_object_must_be_unambiguous(document: bytes, why: str) -> None:
    with pytest.raises(StrictJsonError, match=f"^{why}$"):
        parse_open_object(document)
    with pytest.raises(StrictJsonError):
        parse_object(document)


@pytest.mark.parametrize(
    "digits",
    [
        *(b"5e-324", b"1e-400", b"-0.0", b"0." + b"1" * 30),
        *(b"-9007199254740991", b"-9007199254740991.0", b"9007199254740991.0"),
    ],
)
def test_a_number_within_the_bounds_is_read_like_any_other(digits: bytes) -> None:
    document = b'{"a":' + digits + b"}"
    assert parse_object(document) == parse_open_object(document) == {"a": float(digits)}


@pytest.mark.parametrize("space", [b" ", b"\t", b"\r\n", b"\n \n"])
def test_only_json_white_space_may_surround_an_object(space: bytes) -> None:
    assert parse_object(space + b'{"a":0}' + space) == {"a": 0}
    for other in (b"\x0b", b"\x0c", b"\0", b"\xc2\xa0", b"\xe2\x80\xa8"):
        with pytest.raises(StrictJsonError):
            parse_object(b"{}" + other)
        with pytest.raises(StrictJsonError):
            parse_object(other + b"{}")
