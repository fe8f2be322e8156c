"""Mail transports: SMTP, or files in a folder. They do not depend on accounts, tokens or retries.

`smtps://` uses TLS from the first byte, `smtp://` requires STARTTLS before anything else is sent, and `smtp+plain://`
uses no TLS, for a relay on the same private network. No scheme falls back to a weaker one.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from issuer.keys.atomic_files import atomic_write
from issuer.mail.smtp_client import SmtpClient, connect

MAX_AT_ONCE: Final = 4
"""Mails that one process sends at a time."""

_PERMANENT: Final = 500
"""The first reply code of permanent failures (RFC 5321 §4.2.1)."""

_AUTHENTICATION_CODES: Final = {530, 534, 535, 538}
"""RFC 4954 §6: the server requires other credentials. The settings are wrong, not the mail."""

_ESCAPES: Final = "write @ : / ? # [ ] % in a user name or password as %40 %3A %2F %3F %23 %5B %5D %25"

_DEFAULT_PORTS: Final = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


class DeliveryError(Exception):
    """A mail that was not sent.

    Attributes:
        kind: the type of the failure; never the server's text, which can quote email addresses.
        code: the reply code of the mail server (RFC 5321 §4.2.3), if there was a reply.
        is_final: every further attempt would fail, such as after a permanent rejection by the mail server (5yz).
    """

    def __init__(self, kind: str, code: int | None = None, *, is_final: bool = False) -> None:
        super().__init__(kind if code is None else f"{kind} {code}")
        self.kind: Final = kind
        self.code: Final = code
        self.is_final: Final = is_final


class MailTransport:
    """A way to send mail, in threads of its own: a mail server that hangs delays only mail.

    Args:
        deliver: sends one message in the calling thread.
        abort: ends the deliveries in other threads.
    """

    def __init__(self, deliver: Callable[[EmailMessage], None], abort: Callable[[], None] = lambda: None) -> None:
        self._deliver = deliver
        self._abort = abort
        self._threads = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="mail")

    async def send(self, message: EmailMessage) -> None:
        """Send `message`.

        Raises:
            DeliveryError: it was not accepted, or it is unknown whether it was.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, _translating_errors, partial(self._deliver, message))

    def close(self) -> None:
        """Accept no further mail, and abort those that are being sent: the process would wait for their threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._abort()


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server and how to connect to it."""

    host: str
    port: int
    tls: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def parse_mail_url(url: str) -> SmtpServer | Path:
    """Read `smtp://user:password@host:port`, `smtps://…`, `smtp+plain://host:port` or `file:///folder`.

    Raises:
        ValueError: it is invalid; the message never quotes it, since it may hold a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        # Without its message, which quotes what is before the host.
        raise ValueError(f"must be a URL; {_ESCAPES}") from None
    if parts.query or parts.fragment:
        raise ValueError(f"must have neither query nor fragment; {_ESCAPES}")
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise ValueError("must name a folder from the root, such as file:///var/mail")
        return Path(unquote(parts.path))
    return _smtp_server(parts)


def transport_for(target: SmtpServer | Path, context: ssl.SSLContext | None = None) -> MailTransport:
    """Return the transport to a mail server or a folder.

    Args:
        target: as `parse_mail_url` returns it.
        context: has the trusted certificates; None for those of the system.
    """
    if isinstance(target, Path):
        return MailTransport(partial(_write_file, target))
    sender = _SmtpSender(target, context or ssl.create_default_context())
    return MailTransport(sender.send, sender.abort)


class _SmtpSender:
    """Sends each mail over a connection of its own."""

    def __init__(self, server: SmtpServer, context: ssl.SSLContext) -> None:
        self._server, self._context = server, context
        self._clients: set[SmtpClient] = set()

    def send(self, message: EmailMessage) -> None:
        """Send `message`."""
        sender, recipient = (message[name].addresses[0] for name in ("From", "To"))
        server, implicit_tls = self._server, self._context if self._server.tls == "implicit" else None
        client = connect(server.host, server.port, sender.domain, implicit_tls)
        self._clients.add(client)
        try:
            if server.tls == "starttls":
                client.starttls(context=self._context)
            if server.username:
                client.login(server.username, server.password)
            client.send_mail(sender.addr_spec, recipient.addr_spec, message)
        finally:
            client.end()
            self._clients.discard(client)

    def abort(self) -> None:
        """End the attempts that are running."""
        for client in tuple(self._clients):
            client.abort()


def _write_file(folder: Path, message: EmailMessage) -> None:
    """Write `message` to `<date>-<message id>.eml` atomically, with mode 0600."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = str(message["Message-ID"]).strip("<>").partition("@")[0]
    at = message["Date"].datetime
    atomic_write(folder / f"{at:%Y%m%dT%H%M%S}-{identity}.eml", message.as_bytes(), 0o600)


def _translating_errors(deliver: Callable[[], None]) -> None:
    """Run `deliver`; reduce a failure to its kind and code: server texts can quote email addresses and passwords."""
    try:
        deliver()
    except smtplib.SMTPRecipientsRefused as error:
        ((code, _),) = error.recipients.values()
        raise _rejection(error, code) from None
    except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
        raise _rejection(error, error.smtp_code) from None
    except smtplib.SMTPResponseException as error:
        # Raised before the mail itself (greeting, EHLO, AUTH): the server or our settings are at fault, not the mail.
        raise DeliveryError(type(error).__name__, error.smtp_code) from None
    except (OSError, ValueError) as error:
        raise DeliveryError(type(error).__name__) from None


def _rejection(error: smtplib.SMTPException, code: int) -> DeliveryError:
    is_final = code >= _PERMANENT and code not in _AUTHENTICATION_CODES
    return DeliveryError(type(error).__name__, code, is_final=is_final)


def _smtp_server(parts: SplitResult) -> SmtpServer:
    tls = {"smtp": "starttls", "smtps": "implicit", "smtp+plain": "none"}.get(parts.scheme)
    if tls is None or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError(f"must be an smtp://, smtps://, smtp+plain:// or file:/// URL; {_ESCAPES}")
    port = None
    with suppress(ValueError):
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    if not port:
        raise ValueError("must have a port from 1 to 65535")
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (username + password).isascii() or bool(username) != bool(password):
        raise ValueError("must have a user name with its password, in ASCII, or neither")
    if tls == "none" and username:
        raise ValueError("must not send a password without TLS")
    return SmtpServer(parts.hostname, port, tls, username, password)
