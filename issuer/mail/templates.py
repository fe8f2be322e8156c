"""The mails that the issuer sends: their words and their header fields. Sends nothing.

A mail quotes nothing from a request: neither an address that was typed into a form nor a user agent.
The token stands in the text, and, where the operator has a page for it, in the fragment of a link, which
browsers keep to themselves: it reaches no server's access log and no Referer field.
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
    """The words of one mail.

    Attributes:
        subject: with `{service}`.
        text: the body, with `{service}`, and `{use}`, `{lifetime}` and `{token}` where it carries a token.
        purpose: of the token that it carries, if any.
        page: the part of the link that says where its token is used.
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
    """Writes the mails of one issuer.

    Attributes:
        service: the name of the service, one line of printable characters.
        sender: the address in `From`, an addr-spec.
        link: the prefix of links, such as `https://app.example/auth`; empty for mails with the token alone.
    """

    service: str
    sender: str
    link: str

    def compose(self, template: Template, mailbox: str, token: str, at: datetime, mail_id: UUID) -> EmailMessage:
        """Write the mail to `mailbox`, an ASCII addr-spec; `token` is empty where the template carries none.

        Raises:
            ValueError: the mailbox is not an addr-spec. A header field never holds more than one address.
        """
        words = TEMPLATES[template]
        sender = Address(self.service, addr_spec=self.sender)
        message = EmailMessage(policy=SMTP)
        message["From"] = sender
        message["To"] = Address(addr_spec=mailbox)
        message["Subject"] = words.subject.format(service=self.service)
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{mail_id}@{sender.domain}>"
        # RFC 3834 §5: no out-of-office reply answers a robot.
        message["Auto-Submitted"] = "auto-generated"
        text = self._text(words, token)
        # 7bit where it is possible: quoted-printable would break a long link in two for those who read the source.
        message.set_content(text, cte="7bit" if text.isascii() else "quoted-printable")
        return message

    def _text(self, words: MailTemplate, token: str) -> str:
        if words.purpose is None:
            return words.text.format(service=self.service)
        return words.text.format(
            service=self.service,
            use="open this link" if self.link else "enter this code",
            lifetime=_in_words(LIFETIMES[words.purpose]),
            token=f"{self.link}{words.page}#token={token}" if self.link else token,
        )


def _in_words(duration: timedelta) -> str:
    """Return whole hours, or minutes where the duration is not longer than an hour."""
    return f"{duration // _HOUR} hours" if duration > _HOUR else f"{duration // _MINUTE} minutes"
