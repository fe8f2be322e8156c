"""An SMTP client with a time limit for the whole attempt to send a mail. smtplib limits only the wait for each byte.

Without the limit, a server that sends one byte a second, or endless continuation lines, would block a thread
indefinitely. Another issuer would then send the same mail again.
"""

import io
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from email.message import EmailMessage
from typing import Any, Final

ATTEMPT_SECONDS: Final = 180.0
"""For one attempt, from the connection to the reply to the mail."""

_EXCHANGE_SECONDS: Final = 10.0
"""For each read of a reply, until the mail itself is sent."""

_ACCEPTANCE_SECONDS: Final = 120.0
"""For the replies to the mail. A server may check its content before it accepts it. If the client gave up earlier, it
would send the mail again (RFC 5321 §4.5.3.2.6)."""

_MAX_REPLY_BYTES: Final = 256 * 1024
"""All replies of one connection together."""


class _Replies(io.RawIOBase):
    """The replies of a mail server, read until the time limit of the attempt."""

    def __init__(self, client: "SmtpClient") -> None:
        super().__init__()
        self._client = client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        client = self._client
        remaining = client.ends_at - time.monotonic()
        if remaining <= 0 or client.reply_bytes > _MAX_REPLY_BYTES:
            raise TimeoutError
        client.sock.settimeout(min(client.timeout, remaining))
        count = client.sock.recv_into(buffer)
        client.reply_bytes += count
        return count


class SmtpClient(smtplib.SMTP):
    """A client whose time limit starts when it connects."""

    timeout: float
    sock: socket.socket

    def __init__(self, host: str, port: int, name: str, **options: ssl.SSLContext) -> None:
        self.ends_at, self.reply_bytes = time.monotonic() + ATTEMPT_SECONDS, 0
        super().__init__(host, port, name, timeout=_EXCHANGE_SECONDS, **options)  # type: ignore[arg-type] # of SMTP_SSL

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply, as smtplib does, from `_Replies`."""
        # smtplib resets the file when STARTTLS replaces the socket.
        if self.file is None:
            self.file = io.BufferedReader(_Replies(self))
        return super().getreply()

    def send_mail(self, sender: str, recipient: str, message: EmailMessage) -> None:
        """Send `message`."""
        # Not `send_message`, which would parse the header fields again, by another parser.
        self.timeout = _ACCEPTANCE_SECONDS
        self.sendmail(sender, [recipient], message.as_bytes())

    def end(self) -> None:
        """Close the connection. A failure here must neither send the mail again nor hide a rejection."""
        self.timeout = _EXCHANGE_SECONDS
        with suppress(OSError):
            self.quit()
        self.close()

    def abort(self) -> None:
        """End the attempt at once, from another thread."""
        self.ends_at = 0.0
        with suppress(OSError, AttributeError):  # there may be no socket yet, or no longer
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class _ClientOverTls(SmtpClient, smtplib.SMTP_SSL):
    """The same, with TLS from the first byte."""


def connect(host: str, port: int, name: str, implicit_tls: ssl.SSLContext | None) -> SmtpClient:
    """Connect to a mail server as `name` and read its greeting; with `implicit_tls`, over TLS from the first byte.

    Raises:
        OSError: it cannot be reached, or does not greet.
    """
    if implicit_tls is None:
        return SmtpClient(host, port, name)
    return _ClientOverTls(host, port, name, context=implicit_tls)
