"""An unusual email is rejected at registration, or a strict server accepts mail to it."""

from typing import Final

from tests.support.issuer_process import PASSWORD, running_issuer
from tests.support.processes import free_port, wait_until
from tests.support.smtp import smtp_server

LONG: Final = "x" * 64
MAILED: Final = [
    "o'hara+x@example.com",
    "a.b.c@example.com",
    "#$&'*+-/=?^_`{|}~@example.com",
    "+@example.com",
    "'@example.com",
    "''quoted''@example.com",
    "_@example.com",
    "=@example.com",
    "=3D@example.com",
    "a=b@example.com",
    "a/b@example.com",
    "{a}@example.com",
    "{token}@example.com",
    "`a`@example.com",
    "~a@example.com",
    "1@example.com",
    "a-@example.com",
    "$HOME@example.com",
    f"{LONG}@example.com",
    f"{LONG}@{'y' * 63}.{'z' * 63}.example.com",
    f"{'=' * 64}@{'y' * 63}.example.com",
    f"{'ab.' * 21}c@example.com",
    "a@xn--mnchen-3ya.example.com",
    "a@1.2.example.com",
]
NORMALIZED: Final = {
    "Ann.UPPER@EXAMPLE.COM": "Ann.UPPER@example.com",
    "a@exämple.com": "a@xn--exmple-cua.com",
}
REJECTED: Final = [
    '"a b"@example.com',
    "jürgen@example.com",
    "=?utf-8?q?ann?=@example.com",
    "|a@example.com",
    "a@[127.0.0.1]",
    "Ann <ann@example.com>",
    "a@example.com\r\nBcc: eve@example.com",
    "a,b@example.com",
    f"{LONG}x@example.com",
]


def test_an_accepted_email_gets_its_mail_and_others_are_rejected(database_url: str) -> None:
    port = free_port()
    url = f"smtp+plain://127.0.0.1:{port}"
    with (
        smtp_server(port) as mailbox,
        running_issuer(
            database_url, MAIL_URL=url, MAIL_FROM="no-reply@gatepass.example", EMAIL_VERIFICATION="required"
        ) as issuer,
    ):
        for email in (*MAILED, *NORMALIZED):
            assert issuer.register(email).status_code == 202, email
        for email in REJECTED:
            assert [fault["field"] for fault in issuer.register(email).json()["errors"]] == ["email"], email
        mailed = [*MAILED, *NORMALIZED.values()]
        wait_until(lambda: len(mailbox.envelopes) >= len(mailed), "all mails", 30)
        recipients = [recipient for envelope in mailbox.envelopes for recipient in envelope.rcpt_tos]
        assert sorted(recipients) == sorted(mailed)
        assert [message["To"] for message in mailbox.messages()] == recipients
        assert {envelope.mail_from for envelope in mailbox.envelopes} == {"no-reply@gatepass.example"}
        assert issuer.login(MAILED[0], PASSWORD).status_code == 401, "not verified"
        assert "mail_rejected" not in issuer.log()
