"""The mails of the issuer: texts and header fields. This module sends nothing.

A mail quotes nothing from a request, such as an email address in a form or a user agent. The token is in the text, or
in the fragment of a link if the operator has a page for it. Browsers send no fragments, so the token gets into no
access log and no Referer field.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from issuer.tokens.one_time_token import LIFETIMES, TokenPurpose

_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)


class Template(StrEnum):
    """The name of a mail. The value is stored in the outbox."""

    VERIFY_EMAIL = "verify_email"
    ACCOUNT_EXISTS = "account_exists"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a label
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a label


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """The text of one mail.

    Attributes:
        subject: the subject, with `{service}`.
        text: the body, with `{service}`, and `{use}`, `{lifetime}` and `{token}` if it has a token.
        purpose: the purpose of its token; None if it has no token.
        page: the path of the page that uses the token, after the prefix of links.
    """

    subject: str
    text: str
    purpose: TokenPurpose | None = None
    page: str = ""


_VERIFY: Final = """\
Hello,

Someone, probably you, created a {service} account with this email address.

To confirm that the address is yours, {use} within {lifetime}:

{token}

It works once. If this was not you, ignore this email: the address will not be confirmed.
"""

_EXISTS: Final = """\
Hello,

Someone, probably you, tried to create a {service} account with this email address. You already have one.

You can log in with your password. If you do not remember it, set a new one: {use} within {lifetime}:

{token}

It works once. If this was not you, ignore this email: nothing was changed.
"""

_RESET: Final = """\
Hello,

Someone, probably you, asked to reset the password of the {service} account with this email address.

To set a new password, {use} within {lifetime}:

{token}

It works once, and all your devices will be logged out. If this was not you, ignore this email: your password stays
the same.
"""

_CHANGED: Final = """\
Hello,

The password of your {service} account was changed, and your other devices were logged out.

If you made this change, ignore this email. If you did not, reset your password now with "forgot password" where you
log in to {service}: that logs out all devices.
"""

TEMPLATES: Final = {
    Template.VERIFY_EMAIL: MailTemplate(
        "Confirm your email address for {service}", _VERIFY, TokenPurpose.VERIFY_EMAIL, "/email/verify"
    ),
    Template.ACCOUNT_EXISTS: MailTemplate(
        "You already have a {service} account", _EXISTS, TokenPurpose.RESET_PASSWORD, "/password/reset"
    ),
    Template.RESET_PASSWORD: MailTemplate(
        "Reset your {service} password", _RESET, TokenPurpose.RESET_PASSWORD, "/password/reset"
    ),
    Template.PASSWORD_CHANGED: MailTemplate("Your {service} password was changed", _CHANGED),
}


@dataclass(frozen=True, slots=True)
class MailComposer:
    """The writer of the mails of one issuer.

    Attributes:
        service: the name of the service, one line of printable characters.
        sender: the email address in `From`, an addr-spec.
        link: the prefix of links, such as `https://app.example/auth`; empty for mails with the bare token.
    """

    service: str
    sender: str
    link: str

    def compose(self, template: Template, mailbox: str, token: str, at: datetime, mail_id: UUID) -> EmailMessage:
        """Write the mail to `mailbox`, an ASCII addr-spec; `token` is empty if the template has none.

        Raises:
            ValueError: the mailbox is not exactly one addr-spec.
        """
        content = TEMPLATES[template]
        sender = Address(self.service, addr_spec=self.sender)
        message = EmailMessage(policy=SMTP)
        message["From"] = sender
        message["To"] = Address(addr_spec=mailbox)
        message["Subject"] = content.subject.format(service=self.service)
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{mail_id}@{sender.domain}>"
        # RFC 3834 §5: suppresses out-of-office replies.
        message["Auto-Submitted"] = "auto-generated"
        text = self._text(content, token)
        # 7bit if possible: quoted-printable would split a long link in the source of the mail.
        message.set_content(text, cte="7bit" if text.isascii() else "quoted-printable")
        return message

    def _text(self, content: MailTemplate, token: str) -> str:
        if content.purpose is None:
            return content.text.format(service=self.service)
        return content.text.format(
            service=self.service,
            use="open this link" if self.link else "enter this code",
            lifetime=_format_duration(LIFETIMES[content.purpose]),
            token=f"{self.link}{content.page}#token={token}" if self.link else token,
        )


def _format_duration(duration: timedelta) -> str:
    """Return a text in hours, or in minutes up to one hour."""
    return f"{duration // _HOUR} hours" if duration > _HOUR else f"{duration // _MINUTE} minutes"
