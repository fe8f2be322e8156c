"""What people are written: in plain text, with the token where no log will see it, and with sound fields."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from uuid import UUID

import pytest

from issuer.letters import LETTERS, Letter, Stationery, Template

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID(int=7)
TOKEN = "gpw_" + "x" * 43
PLAIN = Stationery("no-reply@gatepass.example", "")
LINKED = Stationery("no-reply@gatepass.example", "https://app.example/auth")
WITH_TOKENS = [template for template in Template if LETTERS[template].purpose]


def test_every_template_has_its_letter() -> None:
    assert set(LETTERS) == set(Template)
    assert len({letter.subject for letter in LETTERS.values()}) == len(Template)


def test_a_letter_is_plain_text_with_the_fields_of_a_robot() -> None:
    message = LINKED.write(Template.RESET_PASSWORD, "ann@example.com", TOKEN, AT, ID)
    assert (message["From"], message["To"]) == ("no-reply@gatepass.example", "ann@example.com")
    assert message["Message-ID"] == f"<{ID}@gatepass.example>"
    assert message["Date"].datetime == AT
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"


@pytest.mark.parametrize("template", WITH_TOKENS)
def test_a_link_carries_the_token_in_its_fragment(template: Template) -> None:
    text = LINKED.write(template, "ann@example.com", TOKEN, AT, ID).get_content()
    assert f"\nhttps://app.example/auth{LETTERS[template].page}#token={TOKEN}\n" in text.replace("\r\n", "\n")


@pytest.mark.parametrize("template", WITH_TOKENS)
def test_without_a_page_of_the_operators_the_letter_has_the_token_alone(template: Template) -> None:
    text = PLAIN.write(template, "ann@example.com", TOKEN, AT, ID).get_content()
    assert f"\n{TOKEN}\n" in text.replace("\r\n", "\n")
    assert "http" not in text


def test_a_notice_carries_no_token() -> None:
    letter: Letter = LETTERS[Template.PASSWORD_CHANGED]
    assert "{" not in letter.text


def test_the_bytes_that_leave_are_read_back_as_they_were_written() -> None:
    message = LINKED.write(Template.RESET_PASSWORD, "ann@example.com", TOKEN, AT, ID)
    assert TOKEN.encode() in message.as_bytes(), "a long link is not broken in two"
    read = message_from_bytes(message.as_bytes(), policy=default)
    assert read["To"] == "ann@example.com"
    assert TOKEN in read.get_content()


@pytest.mark.parametrize(
    "mailbox",
    [
        "ann@example.com\r\nBcc: eve@example.com",
        "ann@example.com\nBcc: eve@example.com",
        "ann@example.com, eve@example.com",
        "ann@example.com eve@example.com",
        "Ann <ann@example.com>",
    ],
)
def test_no_address_becomes_more_than_one_field_with_one_recipient(mailbox: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        LINKED.write(Template.RESET_PASSWORD, mailbox, TOKEN, AT, ID)
