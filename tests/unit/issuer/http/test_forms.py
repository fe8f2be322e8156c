"""Forms are parsed strictly (RFC 6749 appendix B)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.errors import InvalidRequestError
from issuer.http.forms import parse_form


@pytest.mark.parametrize(
    ("data", "parameters"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=b%20c+d%2B", {"a": "b c d+"}),
        (b"a=%C3%A9", {"a": "\u00e9"}),
        (b"a=", {}),
        (b"a", {}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
    ],
)
def test_a_form_is_read_as_its_parameters(data: bytes, parameters: dict[str, str]) -> None:
    assert parse_form(data) == parameters


@pytest.mark.parametrize(
    "data",
    [
        b"a=1&a=2",
        b"a=1&a=1",
        b"a=&a=1",
        b"a=1&%61=2",
        b"a=%FF",
        b"a=%ED%A0%80",
        b"a=%C0%80",
        b"a=%00",
        b"a=%",
        b"a=%4",
        b"a=%zz",
        b"a=\xc3\xa9",
        b"a=1 2",
        b"a=1\r\nb=2",
        b"&".join(b"p%d=1" % number for number in range(33)),
    ],
)
def test_an_ambiguous_form_is_rejected(data: bytes) -> None:
    with pytest.raises(InvalidRequestError) as error:
        parse_form(data)
    assert error.value.args == ()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_an_error(data: bytes) -> None:
    with suppress(InvalidRequestError):
        assert all(parse_form(data).values())
