"""A refusal says why, and quotes nothing."""

import pytest

from shared.strict_json import StrictJsonError, parse_object


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b'{"a":1,"a":2}', "duplicate member"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":-Infinity}', "-Infinity is not JSON"),
        (b'{"a":9007199254740992}', "integer out of range"),
        (b'{"a":' + b"9" * 5000 + b"}", "integer out of range"),
        (b'{"a":1e400}', "number out of range"),
        (b'{"a":0.' + b"0" * 40 + b"}", "number out of range"),
        (b'{"a":-0}', "negative zero"),
        (b'{"a":"\\udfff"}', "lone surrogate"),
        (b'{"a":' + b"[" * 16 + b"]" * 16 + b"}", "nested too deeply"),
        (b"[]", "not one JSON object"),
        (b"{}{}", "not one JSON object"),
        (b"{", "not strict JSON"),
        (b'{"a":"\xff"}', "not strict JSON"),
        (b"[" * 100_000, "not strict JSON"),
        (b"", "not strict JSON"),
    ],
)
def test_a_refusal_says_why(document: bytes, why: str) -> None:
    with pytest.raises(StrictJsonError, match=f"^{why}$"):
        parse_object(document)


@pytest.mark.parametrize("space", [b" ", b"\t", b"\r\n", b"\n \n"])
def test_the_white_space_of_json_may_stand_around_an_object_and_no_other(space: bytes) -> None:
    assert parse_object(space + b'{"a":0}' + space) == {"a": 0}
    for other in (b"\x0b", b"\x0c", b"\0", b"\xc2\xa0", b"\xe2\x80\xa8"):
        with pytest.raises(StrictJsonError):
            parse_object(b"{}" + other)
        with pytest.raises(StrictJsonError):
            parse_object(other + b"{}")
