"""An unusual email is rejected at registration, or a strict server accepts mail to it."""

from typing import Final

import httpx

from tests.support.issuer_process import PASSWORD, running_issuer
from tests.support.processes import free_port, wait_until
from tests.support.smtp import smtp_server

LONG: Final = "x" * 64
MAILED: Final = {
    "o'hara+x@example.com": "o'hara+x@example.com",
    "a.b.c@example.com": "a.b.c@example.com",
    "#$&'*+-/=?^_`{|}~@example.com": "#$&'*+-/=?^_`{|}~@example.com",
    "+@example.com": "+@example.com",
    "'@example.com": "'@example.com",
    "''quoted''@example.com": "''quoted''@example.com",
    "_@example.com": "_@example.com",
    "=@example.com": "=@example.com",
    "=3D@example.com": "=3D@example.com",
    "a=b@example.com": "a=b@example.com",
    "a/b@example.com": "a/b@example.com",
    "{a}@example.com": "{a}@example.com",
    "{token}@example.com": "{token}@example.com",
    "`a`@example.com": "`a`@example.com",
    "~a@example.com": "~a@example.com",
    "1@example.com": "1@example.com",
    "a-@example.com": "a-@example.com",
    "$HOME@example.com": "$HOME@example.com",
    f"{LONG}@example.com": f"{LONG}@example.com",
    f"{LONG}@{'y' * 63}.{'z' * 63}.example.com": f"{LONG}@{'y' * 63}.{'z' * 63}.example.com",
    f"{'=' * 64}@{'y' * 63}.example.com": f"{'=' * 64}@{'y' * 63}.example.com",
    f"{'ab.' * 21}c@example.com": f"{'ab.' * 21}c@example.com",
    "Ann.UPPER@EXAMPLE.COM": "Ann.UPPER@example.com",
    "a@exämple.com": "a@xn--exmple-cua.com",
    "a@xn--mnchen-3ya.example.com": "a@xn--mnchen-3ya.example.com",
    "a@1.2.example.com": "a@1.2.example.com",
}
REJECTED: Final = [
    '"a b"@example.com',
    '"a"@example.com',
    '"<script>"@example.com',
    "a..b@example.com",
    ".a@example.com",
    "a.@example.com",
    "jürgen@example.com",
    "用户@example.com",
    "=?utf-8?q?ann?=@example.com",
    "a=?b?=c@example.com",
    "a%example.org@example.com",
    "example.org!a@example.com",
    "-a@example.com",
    "|a@example.com",
    "/etc/passwd@example.com",
    "a@[127.0.0.1]",
    "a(comment)@example.com",
    "Ann <ann@example.com>",
    "a@example.com\r\nBcc: eve@example.com",
    "a,b@example.com",
    "a;b@example.com",
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
        for email in (*MAILED, *REJECTED):
            response = issuer.register(email)
            assert outcome(response) == (202 if email in MAILED else ["email"]), email
        wait_until(lambda: len(mailbox.envelopes) >= len(MAILED), "all mails", 30)
        recipients = [recipient for envelope in mailbox.envelopes for recipient in envelope.rcpt_tos]
        assert sorted(recipients) == sorted(MAILED.values())
        assert [message["To"] for message in mailbox.messages()] == recipients
        assert {envelope.mail_from for envelope in mailbox.envelopes} == {"no-reply@gatepass.example"}
        assert issuer.login(next(iter(MAILED)), PASSWORD).status_code == 401, "not verified"
        assert "mail_rejected" not in issuer.logs()


def outcome(response: httpx.Response) -> int | list[str]:
    """Return the status, or the invalid fields."""
    if response.status_code != 422:
        return response.status_code
    return [fault["field"] for fault in response.json()["errors"]]
