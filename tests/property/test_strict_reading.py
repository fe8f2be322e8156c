"""`strict_json` reads accepted input like `json`; `parse_jwks` returns keys or raises JwksError for any input."""

import json
from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jwks import JwksError, parse_jwks
from shared.strict_json import MAX_DEPTH, MAX_INTEGER, StrictJsonError, parse_object, parse_open_object
from tests.property.strictnesses import depth
from tests.support.vector_keys import public

_TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_VALUE: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.sampled_from([0.5, -1.25, 1e-9]) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_OBJECT: Final = st.dictionaries(_TEXT, _VALUE, max_size=5)
_FRAGMENTS: Final = st.lists(
    st.sampled_from(
        [
            '"',
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"a"',
            '"b"',
            '"\\u0061"',
            '"\\ud800"',
            "\\",
            "1",
            "-0",
            "1e400",
            "NaN",
            " ",
            "\ufeff",
            "é",
        ]
    ),
    max_size=24,
).map("".join)


@given(value=_OBJECT, ascii_only=st.booleans(), indent=st.none() | st.just(1))
def test_an_unambiguous_object_is_read_like_json(
    value: dict[str, Any], *, ascii_only: bool, indent: int | None
) -> None:
    document = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    if depth(value) <= MAX_DEPTH:
        assert parse_object(document) == parse_open_object(document) == value == json.loads(document)


@given(text=_FRAGMENTS, wrapped=st.booleans())
def test_accepted_objects_are_read_like_json(text: str, *, wrapped: bool) -> None:
    document = ('{"x":' + text + "}" if wrapped else text).encode()
    for parse in (parse_object, parse_open_object):
        try:
            value = parse(document)
        except StrictJsonError:
            continue
        assert json.loads(document) == value


@given(octets=st.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_error(octets: bytes) -> None:
    with suppress(StrictJsonError):
        assert type(parse_open_object(octets)) is dict


@given(value=_OBJECT.filter(bool), inside=st.sampled_from(["", '{"x":', '[1,{"y":', '{"x":{"y":[']), data=st.data())
def test_a_repeated_member_is_rejected_at_any_depth(value: dict[str, Any], inside: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    spelt = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in name)
    members = json.dumps(value)[1:-1]
    twice = f'{{{members},"{spelt}":1}}'
    closing = {"{": "}", "[": "]"}
    document = inside + twice + "".join(closing[c] for c in reversed(inside) if c in closing)
    if not document.startswith("{"):
        document = f'{{"x":{document}}}'
    for parse in (parse_object, parse_open_object):
        with pytest.raises(StrictJsonError, match="duplicate member"):
            parse(document.encode())


@given(octets=st.binary(max_size=200))
def test_any_bytes_are_a_key_set_or_an_error(octets: bytes) -> None:
    with pytest.raises(JwksError):
        parse_jwks(octets)


_JWK: Final = st.fixed_dictionaries(
    {},
    optional={
        "kty": st.sampled_from(["RSA", "EC", "oct", None, 1]),
        "kid": st.sampled_from(["a", "b", "", None, 7, "k" * 300]),
        "use": st.sampled_from(["sig", "enc", None, []]),
        "alg": st.sampled_from(["RS256", "RS384", None]),
        "key_ops": st.sampled_from([["verify"], ["sign"], "verify", [], [["verify"]], None]),
        "n": st.sampled_from(
            [public(name)["n"] for name in ("issuer", "other", "short-1024")] + ["", "AQ", "=", None, "_" * 400]
        ),
        "e": st.sampled_from(["AQAB", "Aw", "AQ", "", "A", None, 65537]),
    },
)


@given(entries=st.lists(_JWK | _VALUE, max_size=5), others=_OBJECT)
def test_any_json_is_a_key_set_of_usable_keys_or_an_error(entries: list[Any], others: dict[str, Any]) -> None:
    document = json.dumps({**others, "keys": entries}).encode()
    try:
        jwks = parse_jwks(document)
    except JwksError:
        return
    assert jwks.keys
    assert sum(jwks.skipped.values()) <= 2 * len(entries)
    for kid, key in jwks.keys.items():
        assert kid == key.kid
        assert key.rsa.key_size >= 2048
        assert key.rsa.public_numbers().e in (3, 65537)
