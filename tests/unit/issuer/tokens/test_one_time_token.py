"""One-time tokens are random, for one purpose, and stored only as hashes."""

import hashlib
import os
from datetime import timedelta

import pytest

from issuer.tokens.one_time_token import LIFETIMES, PREFIXES, TokenPurpose, hash_of, new_token


@pytest.mark.parametrize("purpose", TokenPurpose)
def test_a_one_time_token_is_stored_as_its_hash(purpose: TokenPurpose) -> None:
    token = new_token(purpose, os.urandom)
    assert token.text.startswith(PREFIXES[purpose])
    assert hash_of(token.text, purpose) == token.token_hash == hashlib.sha256(token.text.encode()).digest()


def test_a_token_holds_256_random_bits() -> None:
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    assert new_token(TokenPurpose.RESET_PASSWORD, random_bytes) != new_token(
        TokenPurpose.RESET_PASSWORD, random_bytes
    )
    assert asked == [32, 32]


def test_a_one_time_token_serves_one_purpose() -> None:
    token = new_token(TokenPurpose.VERIFY_EMAIL, os.urandom)
    assert hash_of(token.text, TokenPurpose.RESET_PASSWORD) is None
    body = token.text.removeprefix(PREFIXES[TokenPurpose.VERIFY_EMAIL])
    assert hash_of(PREFIXES[TokenPurpose.RESET_PASSWORD] + body, TokenPurpose.RESET_PASSWORD) != token.token_hash


@pytest.mark.parametrize(
    "text",
    ["", "gpw_", "gpw_" + "a" * 42, "gpw_" + "a" * 44, "gpw_" + "a" * 42 + "=", "gpw_" + "ä" * 43, "a" * 10_000],
)
def test_a_malformed_one_time_token_is_not_looked_up(text: str) -> None:
    assert hash_of(text, TokenPurpose.RESET_PASSWORD) is None


def test_the_repr_of_a_token_does_not_show_it() -> None:
    token = new_token(TokenPurpose.RESET_PASSWORD, os.urandom)
    assert token.text not in repr(token)


def test_one_time_tokens_are_short_lived() -> None:
    assert LIFETIMES[TokenPurpose.RESET_PASSWORD] <= timedelta(minutes=60)
    assert LIFETIMES[TokenPurpose.VERIFY_EMAIL] <= timedelta(hours=24)
    assert set(LIFETIMES) == set(PREFIXES) == set(TokenPurpose)
