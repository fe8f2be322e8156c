"""Refresh tokens: one spelling, and only tokens with a valid MAC are accepted."""

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer.errors import NoSigningKeyError
from issuer.keys.mac_secrets import MacSecret
from issuer.tokens import refresh_token
from issuer.tokens.refresh_token import MAX_GENERATION, RefreshToken, RefreshTokens

OLD, NEW = MacSecret("old", b"o" * 32), MacSecret("new", b"n" * 32)
TOKENS = RefreshTokens(lambda: (NEW, OLD))
OTHER_TOKENS = RefreshTokens(lambda: (MacSecret("new", b"x" * 32),))
ANY = st.builds(RefreshToken, st.uuids(), st.integers(0, MAX_GENERATION))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(ANY)
def test_a_refresh_token_reads_back(token: RefreshToken) -> None:
    assert TOKENS.read(TOKENS.write(token)) == token


@given(st.text() | st.text(ALPHABET, min_size=72, max_size=72).map("gpr_".__add__))
def test_text_that_is_no_refresh_token_is_rejected(text: str) -> None:
    assert TOKENS.read(text) is None


@given(ANY, st.integers(0, 75), st.sampled_from(ALPHABET))
def test_a_change_of_any_character_is_rejected(token: RefreshToken, place: int, character: str) -> None:
    text = TOKENS.write(token)
    changed = text[:place] + character + text[place + 1 :]
    assert (TOKENS.read(changed) is None) == (changed != text)


@given(ANY)
def test_a_token_of_another_secret_is_rejected_even_under_its_id(token: RefreshToken) -> None:
    assert TOKENS.read(OTHER_TOKENS.write(token)) is None


@pytest.mark.parametrize("form", ["{}\n", " {}", "{}=", "{}A", "{}====", "gpr_{}"])
def test_a_token_has_one_spelling(form: str) -> None:
    assert TOKENS.read(form.format(TOKENS.write(RefreshToken(UUID(int=1), 1)))) is None


def test_the_successor_of_a_token_is_always_the_same() -> None:
    token = RefreshToken(UUID(int=1), 7)
    assert TOKENS.write(token.successor) == TOKENS.write(RefreshToken(UUID(int=1), 8))


def test_a_token_is_the_same_in_every_release() -> None:
    """Users stay logged in through an upgrade."""
    tokens = RefreshTokens(lambda: (MacSecret("0a0b0c0d", bytes(range(32))),))
    written = "gpr_AQAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAB85r9pxAyhb1KhU62fg4OQSE2Q19a32ePbBgrEhH"
    assert tokens.write(RefreshToken(UUID(int=1), 7)) == written


def test_no_repr_shows_a_mac_secret() -> None:
    assert repr(NEW) == "MacSecret(id='new')"


def test_older_secrets_verify_and_the_first_signs() -> None:
    token = RefreshToken(UUID(int=1), 7)
    assert TOKENS.read(RefreshTokens(lambda: (OLD,)).write(token)) == token
    assert RefreshTokens(lambda: (OLD,)).read(TOKENS.write(token)) is None


def test_a_counter_out_of_range_is_rejected() -> None:
    assert TOKENS.read(TOKENS.write(RefreshToken(UUID(int=1), MAX_GENERATION + 1))) is None


def test_a_token_of_another_version_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later_release:
        later_release.setattr(refresh_token, "_VERSION", 2)
        text = TOKENS.write(RefreshToken(UUID(int=1), 7))
    assert TOKENS.read(text) is None


def test_without_a_secret_nothing_is_signed_or_verified() -> None:
    unsigned = RefreshTokens(tuple)
    with pytest.raises(NoSigningKeyError):
        unsigned.write(RefreshToken(UUID(int=1), 0))
    with pytest.raises(NoSigningKeyError):
        unsigned.read(TOKENS.write(RefreshToken(UUID(int=1), 0)))


def test_the_readable_parts_of_the_key_directory_hold_no_secret() -> None:
    octets = base64.urlsafe_b64decode(TOKENS.write(RefreshToken(UUID(int=3), 258))[4:])
    assert octets[:25] == b"\1" + UUID(int=3).bytes + (258).to_bytes(8, "big")
    assert len(octets) - 29 >= 24
