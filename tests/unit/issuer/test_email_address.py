"""Spellings of emails that are the same account, different accounts, or invalid."""

import pytest

from issuer.email_address import MAX_CHARACTERS, InvalidEmailError, parse_email, parse_new_email


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@example.com", "Ann@Example.COM"),
        ("ann@example.com", "ANN@EXAMPLE.COM"),
        ("ann@exämple.com", "ann@xn--exmple-cua.com"),
        ("ann@exämple.com", "ann@EXÄMPLE.com"),
        ("ann@exämple.com", "ann@exa\u0308mple.com"),
        ("ann@example.com", "ann@example\u3002com"),
        ("ann@example.com", "ann@\uff25\uff38ample.com"),
    ],
)
def test_spellings_of_one_email_are_one_account(one: str, other: str) -> None:
    assert parse_email(one).key == parse_email(other).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@example.com", "ann@example.org"),
        ("ann@example.com", "ann+tag@example.com"),
        ("ann@example.com", "a.nn@example.com"),
        ("ann@strasse.de", "ann@straße.de"),
        ("ann@apple.com", "ann@\u0430pple.com"),
    ],
)
def test_emails_that_look_alike_are_two_accounts(one: str, other: str) -> None:
    assert parse_email(one).key != parse_email(other).key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.com",
        "ann@localhost",
        "ann@example",
        "ann@@example.com",
        " ann@example.com",
        "ann@example.com ",
        "ann@example.com\n",
        "ann @example.com",
        "Ann <ann@example.com>",
        '"ann"@example.com',
        "ann@[127.0.0.1]",
        "ann@example.com,bob@example.com",
        "ann@example.com\r\nBcc: eve@example.com",
        "a,b@example.com",
        "a;b@example.com",
        "a(comment)@example.com",
        "' OR 1=1 --@example.com",
        "ann\0@example.com",
        "ann@exam\u200bple.com",
        "\u0131ann@example.com",
        "ann\u202e@example.com",
        "a..b@example.com",
        ".ann@example.com",
        '"a b"@example.com',
        "jürgen@example.com",
        "用户@example.com",
        "=?utf-8?q?ann?=@example.com",
        "ann=?b?=@example.com",
        f"{'a' * 65}@example.com",
        f"ann@{'b' * 64}.com",
        f"ann@{'b.' * 125}com",
        f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.com",
    ],
)
def test_a_malformed_email_is_rejected(text: str) -> None:
    with pytest.raises(InvalidEmailError):
        parse_email(text)


@pytest.mark.parametrize("text", [f"{local_part}@example.com" for local_part in ("a%b", "b!a", "-a", "/a", "|a")])
def test_an_email_that_mail_servers_reject_is_no_new_account(text: str) -> None:
    assert parse_email(text).given == text, "an account that has it keeps it"
    with pytest.raises(InvalidEmailError, match="mail servers reject it"):
        parse_new_email(text)


def test_the_error_does_not_quote_the_email() -> None:
    with pytest.raises(InvalidEmailError) as error:
        parse_email("hunter2 @example.com")
    assert "hunter2" not in str(error.value)


def test_the_email_is_kept_as_it_was_given() -> None:
    assert parse_email("Ann@Exämple.com").given == "Ann@Exämple.com"


def test_mail_servers_get_the_local_part_as_it_was_given() -> None:
    assert parse_email("Ann@EXÄMPLE.com").mailbox == "Ann@xn--exmple-cua.com"


def test_an_email_key_fits_its_column() -> None:
    assert parse_email("Ann@Exämple.com").key == "ann@xn--exmple-cua.com"
    longest = f"{'a' * 64}@{'ä.' * 23}com"
    assert len(parse_email(longest).key) == 252 <= MAX_CHARACTERS
    with pytest.raises(InvalidEmailError):
        parse_email(longest.replace("com", "ä.com"))
