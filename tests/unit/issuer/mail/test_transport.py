"""Mail is sent by SMTP with the security that the URL requires, or written into a folder."""

import asyncio
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

import pytest

from issuer.mail import smtp_client
from issuer.mail.templates import MailComposer, Template
from issuer.mail.transport import (
    DeliveryError,
    MailTransport,
    SmtpServer,
    parse_mail_url,
    transport_for,
)
from tests.support.certificates import self_signed
from tests.support.processes import free_port
from tests.support.smtp import PASSWORD, USERNAME, read_mail, smtp_server

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def notice(number: int = 7) -> EmailMessage:
    composer = MailComposer("Hill Library", "no-reply@gatepass.example", "")
    return composer.compose(Template.PASSWORD_CHANGED, "ann@example.com", "", AT, UUID(int=number))


def send(transport: MailTransport, message: EmailMessage | None = None) -> None:
    try:
        asyncio.run(transport.send(message or notice()))
    finally:
        transport.close()


def server_of(url: str) -> SmtpServer:
    server = parse_mail_url(url)
    assert isinstance(server, SmtpServer)
    return server


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("smtp://mail.example", SmtpServer("mail.example", 587, "starttls")),
        ("smtps://mail.example", SmtpServer("mail.example", 465, "implicit")),
        ("smtp+plain://mail.internal", SmtpServer("mail.internal", 25, "none")),
        ("smtp://ann:p%40ss@mail.example:2525", SmtpServer("mail.example", 2525, "starttls", "ann", "p@ss")),
        ("smtps://[::1]:9", SmtpServer("::1", 9, "implicit")),
        ("file:///var/mail/gate%20pass", Path("/var/mail/gate pass")),
    ],
)
def test_a_mail_url_names_the_server(url: str, place: SmtpServer | Path) -> None:
    assert parse_mail_url(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example",
        "smtp://",
        "smtp://mail.example/inbox",
        "smtp://mail.example:0",
        "smtp://mail.example:99999",
        "smtp://mail.example:port",
        "smtp://mail.example?starttls=no",
        "smtp://ann@mail.example",
        "smtp://:hunter2@mail.example",
        "smtp+plain://ann:hunter2@mail.example",
        "smtp://ann:h%C3%BCnter2@mail.example",
        "smtp://ann:[hunter2]@mail.example",
        "smtp://ann:hunter2\N{ACCOUNT OF}@mail.example",
        "smtp://ann:/hunter2@mail.example",
        "smtp://ann:#hunter2@mail.example",
        "file://elsewhere/var/mail",
        "file:mail",
    ],
)
def test_an_invalid_mail_url_is_rejected_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="must") as error:
        parse_mail_url(url)
    assert "nter2" not in str(error.value)


def test_the_repr_of_a_server_shows_no_password() -> None:
    assert "hunter2" not in repr(parse_mail_url("smtp://ann:hunter2@mail.example"))


def test_a_mail_server_receives_the_mail() -> None:
    with smtp_server(free_port()) as mailbox:
        send(transport_for(parse_mail_url(f"smtp+plain://127.0.0.1:{mailbox.port}")))
    (envelope,), (message,) = mailbox.envelopes, mailbox.messages()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@gatepass.example", ["ann@example.com"])
    assert message["Subject"] == "Your Hill Library password was changed"
    assert message.get_content().replace("\r\n", "\n") == notice().get_content().replace("\r\n", "\n")


def test_credentials_are_sent_only_after_starttls(tmp_path: Path) -> None:
    at_server, at_client = self_signed(tmp_path)
    with smtp_server(free_port(), at_server) as mailbox:
        url = f"smtp://{USERNAME}:{quote(PASSWORD, safe='')}@127.0.0.1:{mailbox.port}"
        send(transport_for(server_of(url), at_client))
        assert mailbox.encrypted == [True]


def test_an_untrusted_certificate_ends_the_delivery(tmp_path: Path) -> None:
    at_server, _ = self_signed(tmp_path)
    with smtp_server(free_port(), at_server) as mailbox:
        with pytest.raises(DeliveryError, match="SSLCertVerificationError"):
            send(transport_for(server_of(f"smtp://127.0.0.1:{mailbox.port}")))
        assert mailbox.envelopes == []


def test_nothing_is_sent_to_a_server_without_starttls() -> None:
    with smtp_server(free_port()) as mailbox:
        with pytest.raises(DeliveryError, match="SMTPNotSupportedError"):
            send(transport_for(server_of(f"smtp://127.0.0.1:{mailbox.port}")))
        with pytest.raises(DeliveryError, match="SSLError"):
            send(transport_for(server_of(f"smtps://127.0.0.1:{mailbox.port}"), ssl.create_default_context()))
        assert mailbox.envelopes == []


def test_a_wrong_password_is_temporary_and_not_quoted(tmp_path: Path) -> None:
    at_server, at_client = self_signed(tmp_path)
    with smtp_server(free_port(), at_server) as mailbox, pytest.raises(DeliveryError) as failed:
        send(transport_for(server_of(f"smtp://{USERNAME}:hunter2@127.0.0.1:{mailbox.port}"), at_client))
    assert not failed.value.is_final
    assert str(failed.value) == "SMTPAuthenticationError 535"


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "is_final"),
    [
        ("550 5.1.1 no such mailbox", True),
        ("552 too large", True),
        ("450 4.2.0 greylisted", False),
        ("530 5.7.0 authentication required", False),
    ],
)
def test_a_permanent_rejection_is_final(command: str, reply: str, is_final: bool) -> None:  # noqa: FBT001 - a parameter of a table
    with smtp_server(free_port(), rejects=reply, at=command) as mailbox, pytest.raises(DeliveryError) as failed:
        send(transport_for(server_of(f"smtp+plain://127.0.0.1:{mailbox.port}")))
    assert (failed.value.is_final, failed.value.code) == (is_final, int(reply[:3]))


def test_a_server_may_check_a_mail_before_it_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_client, "_EXCHANGE_SECONDS", 0.5)
    with smtp_server(free_port()) as mailbox:
        mailbox.accepts_after = 1.0
        send(transport_for(server_of(f"smtp+plain://127.0.0.1:{mailbox.port}")))
        assert len(mailbox.envelopes) == 1


@pytest.mark.parametrize(("sent", "pause"), [(b"2", 0.05), (b"220-" + b"x" * 500 + b"\r\n", 0.0)])
def test_a_reply_without_end_does_not_keep_an_attempt_alive(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, pause: float
) -> None:
    monkeypatch.setattr(smtp_client, "ATTEMPT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=greet_without_end, args=(listener, sent, pause))
        server.start()
        with pytest.raises(DeliveryError, match="SMTPServerDisconnected"):
            send(transport_for(server_of(f"smtp+plain://127.0.0.1:{listener.getsockname()[1]}")))
        server.join(timeout=10)
        assert not server.is_alive()


def greet_without_end(listener: socket.socket, sent: bytes, pause: float) -> None:
    connection, _ = listener.accept()
    with connection, suppress(OSError):
        for _ in range(1000):
            connection.sendall(sent)
            time.sleep(pause)


@pytest.mark.parametrize("farewell", ["250 what?", "421 4.3.2 shutting down", "500 5.5.1 what?"])
def test_the_reply_to_quit_does_not_change_the_outcome(farewell: str) -> None:
    with smtp_server(free_port()) as mailbox:
        mailbox.farewell = farewell
        transport = transport_for(server_of(f"smtp+plain://127.0.0.1:{mailbox.port}"))
        send(transport)
        assert len(mailbox.envelopes) == 1
    with smtp_server(free_port(), rejects="550 5.1.1 no such mailbox") as mailbox:
        mailbox.farewell = farewell
        with pytest.raises(DeliveryError) as failed:
            send(transport_for(server_of(f"smtp+plain://127.0.0.1:{mailbox.port}")))
    assert (failed.value.is_final, failed.value.code) == (True, 550)


def test_an_unreachable_server_is_temporary() -> None:
    with pytest.raises(DeliveryError, match="ConnectionRefusedError") as failed:
        send(transport_for(server_of(f"smtp+plain://127.0.0.1:{free_port()}")))
    assert not failed.value.is_final


def test_a_mail_folder_gets_a_private_file_for_each_mail(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "mail"
    for number in (1, 2):
        send(transport_for(folder), notice(number))
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [f"20260301T120000-{UUID(int=number)}.eml" for number in (1, 2)]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert read_mail(files[0].read_bytes())["To"] == "ann@example.com"


def test_a_read_only_mail_folder_is_temporary(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file")
    with pytest.raises(DeliveryError, match=r"FileExistsError|NotADirectoryError"):
        send(transport_for(tmp_path / "mail"))
