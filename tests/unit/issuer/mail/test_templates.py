"""Mails: their text, the token in the fragment of the link, and valid header fields."""

import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default
from email.utils import parseaddr
from uuid import UUID

import pytest

from issuer.mail.templates import TEMPLATES, MailComposer, Template
from issuer.tokens.one_time_token import LIFETIMES

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID(int=7)
TOKEN = "gpw_" + "x" * 43
SENDER = "no-reply@gatepass.example"
ANN = "ann@example.com"
PLAIN = MailComposer("Hill Library", SENDER, "")
LINKED = MailComposer("Hill Library", SENDER, "https://app.example/auth")
WITH_TOKENS = [template for template in Template if TEMPLATES[template].purpose]


def text_of(template: Template, composer: MailComposer = LINKED) -> str:
    content: str = composer.compose(template, ANN, TOKEN, AT, ID).get_content()
    return content.replace("\r\n", "\n")


def display_name(sent: bytes) -> str:
    """Return the display name of `From`, by the older parser: the newer one violates RFC 2047 §6.2."""
    name, _ = parseaddr(str(message_from_bytes(sent)["From"]).replace("\r\n", ""))
    return str(make_header(decode_header(name)))


def test_every_template_has_a_subject_and_text() -> None:
    assert set(TEMPLATES) == set(Template)
    assert len({words.subject for words in TEMPLATES.values()}) == len(Template)


def test_a_mail_is_plain_text_marked_as_automatic() -> None:
    message = LINKED.compose(Template.RESET_PASSWORD, ANN, TOKEN, AT, ID)
    assert (message["From"], message["To"]) == (f"Hill Library <{SENDER}>", ANN)
    assert message["Message-ID"] == f"<{ID}@gatepass.example>"
    assert message["Date"].datetime == AT
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"


@pytest.mark.parametrize("template", Template)
def test_a_mail_names_the_service_and_says_that_it_can_be_ignored(template: Template) -> None:
    assert "Hill Library" in LINKED.compose(template, ANN, TOKEN, AT, ID)["Subject"]
    assert "Hill Library account" in text_of(template)
    assert "ignore this email" in text_of(template)


@pytest.mark.parametrize("template", WITH_TOKENS)
def test_a_mail_says_how_long_its_token_is_valid(template: Template) -> None:
    purpose = TEMPLATES[template].purpose
    assert purpose is not None
    found = re.search(r"within (\d+) (hours|minutes):\n", text_of(template))
    assert found is not None
    seconds = int(found[1]) * {"hours": 3600, "minutes": 60}[found[2]]
    assert seconds == LIFETIMES[purpose].total_seconds()


@pytest.mark.parametrize("template", WITH_TOKENS)
def test_a_link_carries_the_token_in_its_fragment(template: Template) -> None:
    link = f"https://app.example/auth{TEMPLATES[template].page}#token={TOKEN}"
    assert f"\n{link}\n" in text_of(template)
    assert "open this link" in text_of(template)


@pytest.mark.parametrize("template", WITH_TOKENS)
def test_without_a_configured_page_the_mail_contains_the_token_alone(template: Template) -> None:
    assert f"\n{TOKEN}\n" in text_of(template, PLAIN)
    assert "enter this code" in text_of(template, PLAIN)
    assert "http" not in text_of(template, PLAIN)


def test_a_notice_carries_no_token() -> None:
    assert TOKEN not in text_of(Template.PASSWORD_CHANGED)


def test_the_sent_bytes_parse_to_the_same_mail() -> None:
    message = LINKED.compose(Template.RESET_PASSWORD, ANN, TOKEN, AT, ID)
    assert TOKEN.encode() in message.as_bytes(), "a long link is not broken in two"
    read = message_from_bytes(message.as_bytes(), policy=default)
    assert read["To"] == ANN
    assert TOKEN in read.get_content()


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize(
    "service",
    [
        'Hill, "Sons" & Co. <hill@example.com>',
        "Bücherei Überlingen",
        "図書館" * 21,
        "{token} {service} %s",
        "x" * 64,
    ],
)
def test_any_service_name_survives_encoding(template: Template, service: str) -> None:
    sent = MailComposer(service, SENDER, "https://app.example").compose(template, ANN, TOKEN, AT, ID).as_bytes()
    assert sent.isascii()
    assert max(map(len, sent.splitlines())) <= 998
    read = message_from_bytes(sent, policy=default)
    assert (display_name(sent), read["From"].addresses[0].addr_spec, read["To"]) == (service, SENDER, ANN)
    assert service in read["Subject"]
    assert f"{service} account" in read.get_content()
    assert (TOKEN in read.get_content()) == (template in WITH_TOKENS)


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
def test_an_email_never_becomes_a_second_field_or_recipient(mailbox: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        LINKED.compose(Template.RESET_PASSWORD, mailbox, TOKEN, AT, ID)
