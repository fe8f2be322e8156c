"""Mail waits in the outbox until a server accepts it, through failures of mail servers and issuers."""

import asyncio
import json
import threading
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from issuer.audit.events import AuditEventKind
from issuer.errors import InvalidOneTimeTokenError
from issuer.mail import outbox
from issuer.mail.store import OutboxStore
from issuer.mail.templates import Template
from issuer.mail.transport import DeliveryError, MailTransport, parse_mail_url, transport_for
from tests.support.issuer_process import issuer_command
from tests.support.postgres import LOCK_AUDIT_TRAIL, wait_until_blocked
from tests.support.processes import free_port, wait_until
from tests.support.recovery_bench import PASSWORD, SELF, RecoveryBench, bench, recovery_bench, token_in
from tests.support.smtp import Mailbox, smtp_server

__all__ = ["bench"]
pytestmark = pytest.mark.anyio

ANN = "ann@example.com"
NEW = "another long and lonely walk"


async def waiting(bench: RecoveryBench) -> list[str]:
    return [row["template"] for row in await bench.execute("SELECT template FROM outbox ORDER BY id")]


async def ask_for_reset(bench: RecoveryBench, email: str = ANN) -> None:
    await bench.register(email, PASSWORD, SELF)
    await bench.password_reset.request(email, SELF)


def mails(bench: RecoveryBench, template: Template, outcome: str) -> float | None:
    labels = {"template": template, "outcome": outcome}
    return bench.metrics.registry.get_sample_value("gatepass_issuer_mails_total", labels)


def mail_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mail")]


async def stop_while_sending(bench: RecoveryBench, mailbox: Mailbox) -> None:
    """Stop the outbox when the mail server has received a mail and not accepted it yet."""
    await ask_for_reset(bench)
    running = asyncio.create_task(bench.outbox.run())
    assert await asyncio.to_thread(mailbox.received.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def smtp_to(port: int) -> MailTransport:
    return transport_for(parse_mail_url(f"smtp+plain://127.0.0.1:{port}"))


async def test_a_mail_is_sent_once_and_leaves_the_outbox(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    assert await bench.outbox.deliver_due() == 1
    assert await bench.outbox.deliver_due() == 0
    assert [message["To"] for message in bench.sent.messages] == [ANN]
    assert mails(bench, Template.RESET_PASSWORD, "sent") == 1
    assert await waiting(bench) == []


async def test_no_secret_is_in_the_database_while_a_mail_waits(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    assert await waiting(bench) == ["reset_password"]
    assert await bench.execute("SELECT * FROM one_time_tokens") == []


async def test_a_mail_server_may_be_down_for_a_while(database_url: str) -> None:
    port = free_port()
    async with recovery_bench(database_url, smtp_to(port)) as bench:
        await ask_for_reset(bench)
        assert await bench.outbox.deliver_due() == 1
        assert mails(bench, Template.RESET_PASSWORD, "failed") == 1
        with smtp_server(port) as mailbox:
            assert await bench.outbox.deliver_due() == 0, "not at once"
            bench.clock.advance(seconds=5)
            assert await bench.outbox.deliver_due() == 1
            await bench.password_reset.reset(token_in(mailbox.messages()[0]), NEW, SELF)


async def test_retries_double_their_waiting_time_up_to_an_hour(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    waits = []
    for _ in range(14):
        bench.sent.fails = [DeliveryError("TimeoutError")]
        assert await bench.outbox.deliver_due() == 1
        (mail,) = await bench.execute("SELECT next_attempt_at FROM outbox")
        waits.append((mail["next_attempt_at"] - bench.clock()).total_seconds())
        bench.clock.advance(seconds=waits[-1])
    assert waits[:4] == [2.5, 5, 10, 20]
    assert waits[-1] == 1800


async def test_a_process_that_stops_waits_for_the_mail_that_it_sends(database_url: str) -> None:
    with smtp_server(free_port()) as mailbox:
        mailbox.accepts_after = 0.5
        async with recovery_bench(database_url, smtp_to(mailbox.port)) as bench:
            await stop_while_sending(bench, mailbox)
            assert await waiting(bench) == [], "or the next process would send it again"
        assert len(mailbox.envelopes) == 1


async def test_a_process_that_stops_does_not_wait_for_a_mail_server_that_hangs(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_STOP_SECONDS", 0.2)
    with smtp_server(free_port()) as mailbox:
        mailbox.accepts_after = 15.0
        transport = smtp_to(mailbox.port)
        async with recovery_bench(database_url, transport) as bench:
            await stop_while_sending(bench, mailbox)
            await asyncio.to_thread(wait_until, lambda: not mail_threads(), "no thread sends mail any more", 5)
            assert await waiting(bench) == ["reset_password"]


async def test_a_deletion_and_an_abandoned_mail_never_deadlock(bench: RecoveryBench) -> None:
    """A deletion locks the account, then the audit trail, then its mail."""
    await ask_for_reset(bench)
    (mail,) = await bench.execute("SELECT id FROM outbox")
    async with bench.database.transaction() as connection:
        await connection.execute("SELECT FROM users FOR UPDATE")
        abandonment = asyncio.create_task(
            OutboxStore(bench.database).abandon(mail["id"], AuditEventKind.MAIL_REJECTED, {})
        )
        await wait_until_blocked(bench.database, abandonment)
        await connection.execute(LOCK_AUDIT_TRAIL)
        await connection.execute("DELETE FROM users")
    await abandonment


async def test_a_mail_is_abandoned_after_a_day(bench: RecoveryBench, database_url: str) -> None:
    with capture_logs() as logs:
        await ask_for_reset(bench)
        for hours in (0, 23, 25):
            bench.sent.fails = [DeliveryError("TimeoutError")]
            bench.clock.advance(hours=hours)
            await bench.outbox.deliver_due()
    assert mails(bench, Template.RESET_PASSWORD, "failed") == 2
    assert mails(bench, Template.RESET_PASSWORD, "abandoned") == 1
    assert await waiting(bench) == []
    (abandoned,) = [line for line in logs if line["event"] == "mail_abandoned"]
    assert abandoned["log_level"] == "error"
    assert ANN not in str(logs)
    assert given_up(database_url) == [("mail_abandoned", "TimeoutError", None)]


async def test_a_permanent_rejection_is_final_and_listed(database_url: str) -> None:
    port = free_port()
    async with recovery_bench(database_url, smtp_to(port)) as bench:
        with smtp_server(port, rejects="550 5.1.1 no such mailbox"), capture_logs() as logs:
            await ask_for_reset(bench)
            assert await bench.outbox.deliver_due() == 1
        assert mails(bench, Template.RESET_PASSWORD, "rejected") == 1
        assert await waiting(bench) == []
        assert await bench.execute("SELECT FROM one_time_tokens") == []
    (rejected,) = [line for line in logs if line["event"] == "mail_rejected"]
    assert (rejected["log_level"], rejected["smtp_code"]) == ("error", 550)
    assert ANN not in str(logs)
    assert given_up(database_url) == [("mail_rejected", "SMTPRecipientsRefused", 550)]


def given_up(url: str) -> list[tuple[str, str, int | None]]:
    """Return the events of mails that were not sent, from `audit list`."""
    run = issuer_command("audit", "list", "--json", DATABASE_URL=url)
    events = [json.loads(line) for line in run.stdout.splitlines()]
    return [
        (event["kind"], event["detail"]["error"], event["detail"].get("smtp_code"))
        for event in events
        if event["kind"].startswith("mail_")
    ]


async def test_a_retry_replaces_the_token(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    bench.sent.fails = [DeliveryError("SMTPServerDisconnected")]
    await bench.outbox.deliver_due()
    assert await bench.execute("SELECT token_hash FROM one_time_tokens") == []
    bench.clock.advance(seconds=5)
    await bench.password_reset.reset(await bench.token(), NEW, SELF)


async def test_several_issuers_send_no_mail_twice(database_url: str) -> None:
    async with recovery_bench(database_url) as one, recovery_bench(database_url) as other:
        for number in range(12):
            await ask_for_reset(one, f"ann{number}@example.com")
        await asyncio.gather(*(bench.outbox.deliver_due() for bench in (one, other, one, other)))
        sent = [message["To"] for bench in (one, other) for message in bench.sent.messages]
        assert sorted(sent) == sorted(f"ann{number}@example.com" for number in range(12))


async def test_a_mail_of_a_crashed_issuer_is_sent_by_another(bench: RecoveryBench, database_url: str) -> None:
    class DiesError(BaseException):
        pass

    async with recovery_bench(database_url) as other:
        await ask_for_reset(bench)
        bench.sent.fails = [DiesError()]  # type: ignore[list-item] # no failure of a delivery: the end of it
        with pytest.raises(DiesError):
            await bench.outbox.deliver_due()
        assert await other.outbox.deliver_due() == 0
        other.clock.advance(minutes=5)
        assert await other.outbox.deliver_due() == 1


async def test_a_mail_kind_of_a_newer_release_is_left_alone(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    await bench.execute("UPDATE outbox SET template = 'greetings_from_the_future'")
    assert await bench.outbox.deliver_due() == 0
    assert await waiting(bench) == ["greetings_from_the_future"]


async def test_a_mail_that_has_become_useless_is_dropped(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    await bench.execute("UPDATE users SET disabled_at = now()")
    assert await bench.outbox.deliver_due() == 1
    assert bench.sent.messages == []
    assert mails(bench, Template.RESET_PASSWORD, "dropped") == 1
    assert await waiting(bench) == []


async def test_mail_is_sent_to_the_stored_email_in_ascii(bench: RecoveryBench) -> None:
    await bench.register("Ann@Exämple.com", PASSWORD, SELF)
    await bench.password_reset.request("ANN@XN--EXMPLE-CUA.COM", SELF)
    await bench.outbox.deliver_due()
    assert bench.sent.messages[0]["To"] == "Ann@xn--exmple-cua.com"


async def test_a_mail_that_cannot_be_written_blocks_no_other(bench: RecoveryBench) -> None:
    await ask_for_reset(bench, "bad@example.com")
    await ask_for_reset(bench, "good@example.com")
    await bench.execute("UPDATE users SET email = E'b\\r\\nBcc: x@y.example' WHERE email_key LIKE 'bad%'")
    assert await bench.outbox.deliver_due() == 2
    assert [message["To"] for message in bench.sent.messages] == ["good@example.com"]
    assert await waiting(bench) == []


async def test_the_lifetime_of_a_token_starts_when_its_mail_is_sent(bench: RecoveryBench) -> None:
    await ask_for_reset(bench)
    bench.clock.advance(hours=5)
    token = await bench.token()
    bench.clock.advance(minutes=60)
    with pytest.raises(InvalidOneTimeTokenError):
        await bench.password_reset.reset(token, NEW, SELF)
    bench.clock.at -= timedelta(seconds=1)
    await bench.password_reset.reset(token, NEW, SELF)
