"""Mail waits in the outbox until it is taken, whatever mail servers and issuers do meanwhile."""

import asyncio
import json
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from issuer.errors import InvalidOneTimeTokenError
from issuer.mail.templates import Template
from issuer.mail.transport import DeliveryError, parse_mail_url, transport_for
from tests.support.issuer_process import issuer_command
from tests.support.postgres import execute
from tests.support.processes import free_port
from tests.support.recovery import PASSWORD, SELF, House, house, in_house, token_in
from tests.support.smtp import smtp_server

ANN = "ann@example.com"
NEW = "another long and lonely walk"


def waiting(url: str) -> list[str]:
    return [row["template"] for row in execute(url, "SELECT template FROM outbox ORDER BY id")]


async def ask_for_reset(at: House, email: str = ANN) -> None:
    await at.register(email, PASSWORD, SELF)
    await at.password_reset.request(email, SELF)


def mails(at: House, template: Template, outcome: str) -> float | None:
    labels = {"template": template, "outcome": outcome}
    return at.metrics.registry.get_sample_value("gatepass_issuer_mails_total", labels)


def test_a_mail_is_sent_once_and_leaves_the_outbox(database_url: str) -> None:
    async def act(at: House) -> None:
        await ask_for_reset(at)
        assert await at.outbox.deliver_due() == 1
        assert await at.outbox.deliver_due() == 0
        assert [message["To"] for message in at.sent.messages] == [ANN]
        assert mails(at, Template.RESET_PASSWORD, "sent") == 1

    in_house(database_url, act)
    assert waiting(database_url) == []


def test_no_secret_is_in_the_database_while_a_mail_waits(database_url: str) -> None:
    in_house(database_url, ask_for_reset)
    assert waiting(database_url) == ["reset_password"]
    assert execute(database_url, "SELECT * FROM one_time_tokens") == []


def test_a_mail_server_may_be_down_for_a_while(database_url: str) -> None:
    port = free_port()

    async def act() -> None:
        async with house(database_url, transport_for(parse_mail_url(f"smtp+plain://127.0.0.1:{port}"))) as at:
            await ask_for_reset(at)
            assert await at.outbox.deliver_due() == 1
            assert mails(at, Template.RESET_PASSWORD, "failed") == 1
            with smtp_server(port) as mailbox:
                assert await at.outbox.deliver_due() == 0, "not at once"
                at.clock.advance(seconds=5)
                assert await at.outbox.deliver_due() == 1
                await at.password_reset.reset(token_in(mailbox.messages()[0]), NEW, SELF)

    asyncio.run(act())


def test_retries_double_their_waiting_time_up_to_an_hour(database_url: str) -> None:
    async def act(at: House) -> list[float]:
        await ask_for_reset(at)
        waits = []
        for _ in range(14):
            at.sent.fails = [DeliveryError("TimeoutError")]
            assert await at.outbox.deliver_due() == 1
            rows = await asyncio.to_thread(execute, database_url, "SELECT next_attempt_at FROM outbox")
            waits.append((rows[0]["next_attempt_at"] - at.clock()).total_seconds())
            at.clock.advance(seconds=waits[-1])
        return waits

    waits = in_house(database_url, act)
    assert waits[:4] == [2.5, 5, 10, 20]
    assert waits[-1] == 1800


def test_a_mail_is_abandoned_after_a_day(database_url: str) -> None:
    async def act(at: House) -> None:
        await ask_for_reset(at)
        for hours in (0, 23, 25):
            at.sent.fails = [DeliveryError("TimeoutError")]
            at.clock.advance(hours=hours)
            await at.outbox.deliver_due()
        assert mails(at, Template.RESET_PASSWORD, "failed") == 2
        assert mails(at, Template.RESET_PASSWORD, "abandoned") == 1

    with capture_logs() as told:
        in_house(database_url, act)
    assert waiting(database_url) == []
    (abandoned,) = [line for line in told if line["event"] == "mail_abandoned"]
    assert abandoned["log_level"] == "error"
    assert ANN not in str(told)
    assert given_up(database_url) == [("mail_abandoned", "TimeoutError", None)]


def test_a_permanent_rejection_is_final_and_listed(database_url: str) -> None:
    port = free_port()

    async def act() -> None:
        async with house(database_url, transport_for(parse_mail_url(f"smtp+plain://127.0.0.1:{port}"))) as at:
            await ask_for_reset(at)
            assert await at.outbox.deliver_due() == 1
            assert mails(at, Template.RESET_PASSWORD, "rejected") == 1

    with smtp_server(port, refuses="550 5.1.1 no such mailbox"), capture_logs() as told:
        asyncio.run(act())
    assert waiting(database_url) == []
    assert execute(database_url, "SELECT FROM one_time_tokens") == []
    (rejected,) = [line for line in told if line["event"] == "mail_rejected"]
    assert (rejected["log_level"], rejected["smtp_code"]) == ("error", 550)
    assert ANN not in str(told)
    assert given_up(database_url) == [("mail_rejected", "SMTPRecipientsRefused", 550)]


def given_up(url: str) -> list[tuple[str, str, int | None]]:
    """What `audit list` shows of mails that never left."""
    run = issuer_command("audit", "list", "--json", DATABASE_URL=url)
    events = [json.loads(line) for line in run.stdout.splitlines()]
    return [
        (event["kind"], event["detail"]["error"], event["detail"].get("smtp_code"))
        for event in events
        if event["kind"].startswith("mail_")
    ]


def test_a_retry_replaces_the_token(database_url: str) -> None:
    async def act() -> None:
        async with house(database_url) as at:
            await ask_for_reset(at)
            at.sent.fails = [DeliveryError("SMTPServerDisconnected")]
            await at.outbox.deliver_due()
            assert await asyncio.to_thread(execute, database_url, "SELECT token_hash FROM one_time_tokens") == []
            at.clock.advance(seconds=5)
            await at.password_reset.reset(await at.token(), NEW, SELF)

    asyncio.run(act())


def test_several_issuers_send_no_mail_twice(database_url: str) -> None:
    async def act() -> None:
        async with house(database_url) as one, house(database_url) as other:
            for number in range(12):
                await ask_for_reset(one, f"ann{number}@example.com")
            await asyncio.gather(*(at.outbox.deliver_due() for at in (one, other, one, other)))
            sent = [message["To"] for at in (one, other) for message in at.sent.messages]
            assert sorted(sent) == sorted(f"ann{number}@example.com" for number in range(12))

    asyncio.run(act())


def test_a_mail_of_a_crashed_issuer_is_sent_by_another(database_url: str) -> None:
    class DiesError(BaseException):
        pass

    async def act() -> None:
        async with house(database_url) as one, house(database_url) as other:
            await ask_for_reset(one)
            one.sent.fails = [DiesError()]  # type: ignore[list-item] # no failure of a delivery: the end of it
            with pytest.raises(DiesError):
                await one.outbox.deliver_due()
            assert await other.outbox.deliver_due() == 0
            other.clock.advance(minutes=5)
            assert await other.outbox.deliver_due() == 1

    asyncio.run(act())


def test_a_mail_kind_of_a_newer_release_is_left_alone(database_url: str) -> None:
    async def act(at: House) -> int:
        await ask_for_reset(at)
        await asyncio.to_thread(execute, database_url, "UPDATE outbox SET template = 'greetings_from_the_future'")
        return await at.outbox.deliver_due()

    assert in_house(database_url, act) == 0
    assert waiting(database_url) == ["greetings_from_the_future"]


def test_a_mail_that_has_become_useless_is_dropped(database_url: str) -> None:
    async def act(at: House) -> None:
        await ask_for_reset(at)
        await asyncio.to_thread(execute, database_url, "UPDATE users SET disabled_at = now()")
        assert await at.outbox.deliver_due() == 1
        assert at.sent.messages == []
        assert mails(at, Template.RESET_PASSWORD, "dropped") == 1

    in_house(database_url, act)
    assert waiting(database_url) == []


def test_mail_is_sent_to_the_stored_email_in_ascii(database_url: str) -> None:
    async def act(at: House) -> None:
        await at.register("Ann@Exämple.com", PASSWORD, SELF)
        await at.password_reset.request("ANN@XN--EXMPLE-CUA.COM", SELF)
        await at.outbox.deliver_due()
        assert at.sent.messages[0]["To"] == "Ann@xn--exmple-cua.com"

    in_house(database_url, act)


def test_a_mail_that_cannot_be_written_blocks_no_other(database_url: str) -> None:
    async def act(at: House) -> None:
        await ask_for_reset(at, "bad@example.com")
        await ask_for_reset(at, "good@example.com")
        await asyncio.to_thread(
            execute, database_url, "UPDATE users SET email = E'b\\r\\nBcc: x@y.example' WHERE email_key LIKE 'bad%'"
        )
        assert await at.outbox.deliver_due() == 2
        assert [message["To"] for message in at.sent.messages] == ["good@example.com"]

    in_house(database_url, act)
    assert waiting(database_url) == []


def test_the_lifetime_of_a_token_starts_when_its_mail_is_sent(database_url: str) -> None:
    async def act(at: House) -> None:
        await ask_for_reset(at)
        at.clock.advance(hours=5)
        token = await at.token()
        at.clock.advance(minutes=60)
        with pytest.raises(InvalidOneTimeTokenError):
            await at.password_reset.reset(token, NEW, SELF)
        at.clock.at -= timedelta(seconds=1)
        await at.password_reset.reset(token, NEW, SELF)

    in_house(database_url, act)
