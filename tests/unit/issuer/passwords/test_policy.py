"""The password policy: a minimum length and no common password."""

import pytest

from issuer.email_address import parse_email
from issuer.passwords.policy import PasswordPolicy, is_too_long

ADDRESS = parse_email("ann.smith@example.com")


def faults(password: str, min_length: int = 15) -> list[str]:
    return list(PasswordPolicy(min_length).faults(password, ADDRESS))


@pytest.mark.parametrize(
    "password",
    [
        "a long and lonely walk",
        "               x",
        "épée au clair, toujours",
        "пароль на каждый день",
        "👩‍👩‍👧‍👦 over the hills",
        "nodigitsnocapitals",
        "x7" * 7 + "q",
        "w" + "alrus tusk" * 25,
    ],
)
def test_a_long_password_needs_no_special_characters(password: str) -> None:
    assert faults(password) == []


@pytest.mark.parametrize("password", ["", "short", "a" * 14, "é" * 14, "e\u0301" * 14])
def test_a_password_of_too_few_code_points_is_rejected(password: str) -> None:
    assert faults(password) == ["must have at least 15 characters"]


@pytest.mark.parametrize("password", ["x" * 257, "walrus " * 40, "e\u0301" * 600])
def test_an_overlong_password_is_rejected(password: str) -> None:
    assert faults(password) == ["must have at most 256 characters"]


def test_composed_and_decomposed_letters_have_one_length() -> None:
    assert not is_too_long("e\u0301" * 256)
    assert is_too_long("é" * 257)


@pytest.mark.parametrize(
    "password",
    [
        "passwordpassword",
        "Password Password",
        "P@ssw0rd-123456",
        "123456789012345",
        "qwertyuiopasdfgh",
        "correct horse battery staple",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabca",
        "GatepassGatepass",
        "gatepass-12345678",
    ],
)
def test_a_common_password_is_rejected(password: str) -> None:
    assert faults(password) == ["is too common: choose another"]


@pytest.mark.parametrize("password", ["ann.smith@example.com", "Ann.Smith@Example.com", "annsmithannsmith"])
def test_the_users_own_email_is_rejected_as_password(password: str) -> None:
    assert faults(password) == ["must not be your email address: choose another"]


@pytest.mark.parametrize("password", ["login.example.org", "Login-Example-Org", "login.example.orglogin.example.org"])
def test_the_name_of_the_service_is_rejected_as_password(password: str) -> None:
    policy = PasswordPolicy(15, frozenset({"login.example.org", ""}))
    assert list(policy.faults(password, ADDRESS)) == ["is too common: choose another"]
    assert not list(policy.faults("!? !? !! ?? !!! ???", ADDRESS))
    assert not list(policy.faults(f"{password}, my old friend", ADDRESS))


def test_an_email_of_punctuation_forbids_no_punctuation() -> None:
    address = parse_email("--__--@example.com")
    assert not list(PasswordPolicy(15).faults("!? !? !! ?? !!! ???", address))


def test_a_common_word_inside_a_password_is_accepted() -> None:
    assert faults("my password is a walrus") == []


def test_the_minimum_length_is_configurable() -> None:
    assert faults("walrus 8", min_length=8) == []
