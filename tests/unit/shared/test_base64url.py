"""Every byte string has one spelling; all others are errors."""

import base64
from itertools import product
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.base64url import decode, encode

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(octets=st.binary(max_size=80))
def test_encoding_and_decoding_agree_with_the_standard_library(octets: bytes) -> None:
    text = encode(octets)
    assert text == base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    assert decode(text) == decode(text.encode()) == octets


@given(text=st.text(ALPHABET, max_size=20) | st.text(max_size=12))
def test_only_the_canonical_spelling_decodes(text: str) -> None:
    try:
        octets = decode(text)
    except ValueError:
        return
    assert encode(octets) == text


def test_of_two_characters_one_in_sixteen_is_a_byte() -> None:
    accepted = []
    for pair in map("".join, product(ALPHABET, repeat=2)):
        try:
            accepted.append(decode(pair))
        except ValueError:
            continue
    assert sorted(accepted) == [bytes([octet]) for octet in range(256)]


SPELLINGS: Final = (
    *("A", "AAAAA", "AB", "AAB", "AA=", "AA==", "A===", "=", "====", "AAAA====", "AA+A", "AA/A", "AA A"),
    *("AAAA\n", "\nAAAA", "AA\0A", "AA!A", "ÀAAA", "AA\u0101A", "AA.A", "\ud800AAA"),
)


@pytest.mark.parametrize("text", SPELLINGS)
def test_another_spelling_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(text)
    with pytest.raises(ValueError, match=r"."):
        decode(text.encode("utf-8", "surrogatepass"))
