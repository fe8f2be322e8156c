"""A real SMTP server in the test's process."""

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USERNAME, PASSWORD = "gatepass", "an SMTP p@ssword/with:signs"

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ORDINARY: Final = re.compile(rf"(?![-/|])(?!.*[%!]){_ATOM}(?:\.{_ATOM})*@[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE)
"""The recipients that Postfix and Exim accept by default, without forms that only a lenient server repairs."""


@dataclass
class Mailbox:
    """The mails that a server received."""

    port: int
    rejects: str = ""
    at: str = "RCPT"
    farewell: str = "221 2.0.0 bye"
    accepts_after: float = 0.0
    received: threading.Event = field(default_factory=threading.Event)
    envelopes: list[Envelope] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)

    def messages(self) -> list[EmailMessage]:
        """Return all mails, parsed."""
        return [read_mail(envelope.content or b"") for envelope in self.envelopes]

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept the sender unless the test rejects it."""
        if self.rejects and self.at == "MAIL":
            return self.rejects
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Accept the recipient unless the test rejects it."""
        if self.rejects and self.at == "RCPT":
            return self.rejects
        if not _ORDINARY.fullmatch(address):
            return "501 5.1.3 bad recipient address syntax"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - its name
        """Accept the mail unless the test rejects it."""
        if self.rejects and self.at == "DATA":
            return self.rejects
        self.received.set()
        await asyncio.sleep(self.accepts_after)
        self.envelopes.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802 - its name
        """Reply to the end of a connection."""
        return self.farewell


def read_mail(content: str | bytes) -> EmailMessage:
    """Parse a mail."""
    raw = content.encode() if isinstance(content, str) else content
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return message


@contextmanager
def smtp_server(
    port: int, tls: ssl.SSLContext | None = None, *, rejects: str = "", at: str = "RCPT"
) -> Iterator[Mailbox]:
    """Run a server on 127.0.0.1. With `tls`, it requires STARTTLS and then user name and password.

    Args:
        tls: the server's certificate.
        rejects: the reply to the command `at`, instead of 250.
        at: MAIL, RCPT or DATA.
    """
    mailbox = Mailbox(port, rejects, at)

    def authenticate(*arguments: object) -> AuthResult:
        given = arguments[-1]
        known = isinstance(given, LoginPassword) and (given.login, given.password) == (
            USERNAME.encode(),
            PASSWORD.encode(),
        )
        return AuthResult(success=known, handled=False)

    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port,
        tls_context=tls,
        require_starttls=tls is not None,
        authenticator=authenticate,
        auth_required=tls is not None,
        auth_require_tls=True,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
