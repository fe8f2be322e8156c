"""What the issuer writes to people: every mail in plain text, and its header fields. Sends nothing.

A letter names nothing that a stranger wrote: not the address that was typed into a form, not a user agent.
The token stands in the text, and, where the operator has a page for it, in the fragment of a link, which
browsers keep to themselves: it reaches no server's access log and no Referer field.
"""

from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from issuer.one_time_tokens import Purpose


class Template(StrEnum):
    """Which letter. The value is stored in the outbox."""

    VERIFY_EMAIL = "verify_email"
    ACCOUNT_EXISTS = "account_exists"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - a label
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a label


@dataclass(frozen=True, slots=True)
class Letter:
    """The words of one template.

    Attributes:
        subject: of the mail.
        text: the body, with `{token}` and `{link}` where it has them.
        purpose: of the token that it carries, if any.
        page: the part of the link that says where its token is taken.
    """

    subject: str
    text: str
    purpose: Purpose | None = None
    page: str = ""


_VERIFY: Final = """\
Hello,

somebody, probably you, has made an account with this e-mail address. Please confirm that the address is yours:

{link}{token}

This is good for 24 hours, and once. If it was not you, do nothing: without this the account stays closed.
"""

_EXISTS: Final = """\
Hello,

somebody, probably you, tried to make an account with this e-mail address. There is one already. Log in with
its password, or, if you do not know it, set a new one:

{link}{token}

This is good for 60 minutes, and once. If it was not you, do nothing: nothing was changed.
"""

_RESET: Final = """\
Hello,

somebody, probably you, asked for a new password for the account with this e-mail address. Set it here:

{link}{token}

This is good for 60 minutes, and once. If it was not you, do nothing: the password stays as it is.
"""

_CHANGED: Final = """\
Hello,

the password of your account was changed, and other devices were logged out. If it was you, all is well. If it
was not, ask for a new password at once: that logs out everybody.
"""

LETTERS: Final = {
    Template.VERIFY_EMAIL: Letter(
        "Please confirm your e-mail address", _VERIFY, Purpose.VERIFY_EMAIL, "/email/verify"
    ),
    Template.ACCOUNT_EXISTS: Letter(
        "You have an account already", _EXISTS, Purpose.RESET_PASSWORD, "/password/reset"
    ),
    Template.RESET_PASSWORD: Letter("Set a new password", _RESET, Purpose.RESET_PASSWORD, "/password/reset"),
    Template.PASSWORD_CHANGED: Letter("Your password was changed", _CHANGED),
}


@dataclass(frozen=True, slots=True)
class Stationery:
    """What all letters of an issuer share.

    Attributes:
        sender: the address in `From`, an addr-spec.
        link: the prefix of links, such as `https://app.example/auth`; empty for letters with the token alone.
    """

    sender: str
    link: str

    def write(self, template: Template, mailbox: str, token: str, at: datetime, letter_id: UUID) -> EmailMessage:
        """The mail for `mailbox`, an ASCII addr-spec; `token` is empty where the letter carries none.

        Raises:
            ValueError: the mailbox is not one. A header field can never hold more than it should.
        """
        letter = LETTERS[template]
        address = Address(addr_spec=self.sender)
        message = EmailMessage(policy=SMTP)
        message["From"] = address
        message["To"] = Address(addr_spec=mailbox)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{letter_id}@{address.domain}>"
        # RFC 3834 §5: nobody's out-of-office reply answers a robot.
        message["Auto-Submitted"] = "auto-generated"
        link = f"{self.link}{letter.page}#token=" if self.link else ""
        # 7bit: quoted-printable would break a long link in two for who reads the source.
        message.set_content(letter.text.format(link=link, token=token), cte="7bit")
        return message
