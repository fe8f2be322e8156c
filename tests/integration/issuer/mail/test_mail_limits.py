"""Mail that needs no login is sent to each recipient at growing intervals, and its links stay valid in between."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from issuer.accounts.models import Account
from issuer.errors import InvalidOneTimeTokenError
from issuer.keys.mac_secrets import MacSecret
from issuer.mail.limits import QUIET, WAITS, RecipientKeys
from issuer.mail.transport import DeliveryError
from issuer.tokens.one_time_token import MAX_VALID, TokenPurpose
from tests.support.recovery_bench import PASSWORD, SELF, RecoveryBench, bench, recovery_bench, token_in

__all__ = ["bench"]
pytestmark = pytest.mark.anyio

ANN = "ann@example.com"
NEW = "another long and lonely walk"
STEP = timedelta(seconds=30)


async def sent(bench: RecoveryBench) -> int:
    """Deliver all due mails; return their number."""
    before = len(bench.sent.messages)
    while await bench.outbox.deliver_due():
        pass
    return len(bench.sent.messages) - before


async def ask_for(bench: RecoveryBench, duration: timedelta, what: str = "reset") -> list[timedelta]:
    """Request mails continuously; return the times at which mails were sent."""
    started_at, left = bench.clock(), []
    while bench.clock() - started_at <= duration:
        if what == "reset":
            await bench.password_reset.request(ANN, SELF)
        elif what == "verification":
            await bench.email_verification.resend(ANN, SELF)
        else:
            await bench.verified_registration.register(ANN, PASSWORD, SELF)
        if await sent(bench):
            left.append(bench.clock() - started_at)
        bench.clock.at += STEP
    return left


@pytest.fixture(autouse=True)
def no_even_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay no response: these tests send hundreds of requests and do not measure time."""
    monkeypatch.setattr("issuer.accounts.mail_requests.MIN_RESPONSE_SECONDS", 0)


def test_waiting_times_double_from_a_minute_to_a_day() -> None:
    minutes = [wait / timedelta(minutes=1) for wait in WAITS]
    assert minutes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]


@pytest.mark.parametrize("what", ["reset", "verification", "registration"])
async def test_a_flood_of_requests_sends_mails_at_doubling_intervals(bench: RecoveryBench, what: str) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    sent_after = await ask_for(bench, timedelta(minutes=32), what)
    assert [wait / timedelta(minutes=1) for wait in sent_after] == [0, 1, 3, 7, 15, 31]


async def test_in_the_end_at_most_one_mail_a_day_is_sent(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    await bench.password_reset.request(ANN, SELF)
    assert await sent(bench) == 1
    for wait in (*WAITS, WAITS[-1], WAITS[-1]):
        bench.clock.at += wait - timedelta(seconds=1)
        await bench.password_reset.request(ANN, SELF)
        assert await sent(bench) == 0
        bench.clock.advance(seconds=1)
        await bench.password_reset.request(ANN, SELF)
        assert await sent(bench) == 1


async def test_a_quiet_week_resets_the_limit(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    await ask_for(bench, timedelta(minutes=15))
    bench.clock.at += QUIET
    assert await ask_for(bench, timedelta(minutes=1)) == [timedelta(0), timedelta(minutes=1)]


async def test_a_password_reset_resets_the_limit(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    await ask_for(bench, timedelta(minutes=15))
    await bench.password_reset.reset(token_in(bench.sent.messages[-1]), NEW, SELF)
    await bench.password_reset.request(ANN, SELF)
    await sent(bench)
    assert [message["Subject"] for message in bench.sent.messages[-2:]].count("Reset your Gatepass password") == 1


async def test_of_forty_requests_at_once_one_sends_a_mail(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    for expected in (1, 0):
        await asyncio.gather(*(bench.password_reset.request(ANN, SELF) for _ in range(20)))
        await asyncio.gather(*(bench.verified_registration.register(ANN, PASSWORD, SELF) for _ in range(20)))
        assert await sent(bench) == expected
    (counter,) = await bench.execute("SELECT mails FROM mail_limits")
    assert counter["mails"] == 1


async def test_a_recreated_account_keeps_its_limit(bench: RecoveryBench) -> None:
    for expected in (1, 0, 0, 0, 0):
        account = await bench.register(ANN, PASSWORD, SELF)
        await bench.password_reset.request(ANN, SELF)
        assert await sent(bench) == expected
        await bench.self_service.delete_account(account, uuid4(), PASSWORD, SELF)


async def test_each_kind_of_mail_has_its_own_limit(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    await bench.password_reset.request(ANN, SELF)
    await bench.email_verification.resend(ANN, SELF)
    assert await sent(bench) == 2


async def test_a_new_account_is_always_sent_its_first_mail(database_url: str) -> None:
    async with recovery_bench(database_url, verified_only=True) as bench:
        await bench.verified_registration.register(ANN, PASSWORD, SELF)
        assert await sent(bench) == 1
        await bench.execute("DELETE FROM users")
        await bench.verified_registration.register(ANN, PASSWORD, SELF)
        assert await sent(bench) == 1
        assert await ask_for(bench, timedelta(minutes=2), "verification") == [timedelta(minutes=2)]


async def test_in_a_flood_of_notices_the_last_one_arrives(bench: RecoveryBench) -> None:
    account = await bench.register(ANN, PASSWORD, SELF)
    await change(bench, account, 0)
    assert await sent(bench) == 1
    for number in range(1, 6):
        await change(bench, account, number)
    left = []
    for _ in range(2 * 4):
        bench.clock.at += STEP
        left.append(await sent(bench))
    assert left == [0, 1, 0, 0, 0, 0, 0, 0], "one for all that followed, when the limit allows it"


async def change(bench: RecoveryBench, account: Account, number: int) -> None:
    """Change the password to the one after `number`."""
    old, new = (PASSWORD if count == 0 else f"{NEW} {count}" for count in (number, number + 1))
    await bench.self_service.change_password(account, uuid4(), old, new, SELF)


async def test_a_retried_mail_is_counted_once(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    for _ in range(5):
        await bench.password_reset.request(ANN, SELF)
        bench.clock.advance(minutes=10)
    assert await sent(bench) == 1
    await bench.password_reset.request(ANN, SELF)
    assert await sent(bench) == 1


def test_mail_counters_hold_no_email() -> None:
    secrets = [MacSecret("", bytes(32)), MacSecret("", bytes(31) + b"x")]
    keys = [RecipientKeys(lambda: secrets[0]), RecipientKeys(lambda: secrets[1])]
    made = {
        key.for_purpose(purpose, email)
        for key in keys
        for purpose in TokenPurpose
        for email in (ANN, "b@example.com")
    }
    made |= {key.for_notice(email) for key in keys for email in (ANN, "b@example.com")}
    assert len(made) == 2 * 3 * 2
    assert {len(key) for key in made} == {16}


async def several_tokens(bench: RecoveryBench, count: int) -> list[str]:
    tokens = []
    for number in range(count):
        await bench.password_reset.request(ANN, SELF)
        assert await sent(bench) == 1
        tokens.append(token_in(bench.sent.messages[-1]))
        bench.clock.at += WAITS[number]
    return tokens


@pytest.mark.parametrize("which", range(MAX_VALID))
async def test_using_one_of_the_newest_tokens_invalidates_all(bench: RecoveryBench, which: int) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    oldest, *valid = await several_tokens(bench, MAX_VALID + 1)
    with pytest.raises(InvalidOneTimeTokenError):
        await bench.password_reset.reset(oldest, NEW, SELF)
    await bench.password_reset.reset(valid[which], NEW, SELF)
    for token in valid:
        with pytest.raises(InvalidOneTimeTokenError):
            await bench.password_reset.reset(token, NEW, SELF)


async def test_a_change_of_the_password_invalidates_all_reset_tokens(bench: RecoveryBench) -> None:
    account = await bench.register(ANN, PASSWORD, SELF)
    tokens = await several_tokens(bench, MAX_VALID)
    await bench.self_service.change_password(account, uuid4(), PASSWORD, NEW, SELF)
    for token in tokens:
        with pytest.raises(InvalidOneTimeTokenError):
            await bench.password_reset.reset(token, NEW, SELF)


async def test_using_one_verification_token_invalidates_the_other(database_url: str) -> None:
    async with recovery_bench(database_url, verified_only=True) as bench:
        await bench.verified_registration.register(ANN, PASSWORD, SELF)
        first = await bench.token()
        bench.clock.advance(minutes=1)
        await bench.email_verification.resend(ANN, SELF)
        second = await bench.token()
        await bench.email_verification.verify(first, SELF)
        with pytest.raises(InvalidOneTimeTokenError):
            await bench.email_verification.verify(second, SELF)


async def test_an_older_token_expires_at_its_own_time(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    first, second = await several_tokens(bench, 2)
    bench.clock.at += timedelta(minutes=60) - WAITS[0] - WAITS[1]
    with pytest.raises(InvalidOneTimeTokenError):
        await bench.password_reset.reset(first, NEW, SELF)
    await bench.password_reset.reset(second, NEW, SELF)


async def test_tokens_of_two_mails_at_once_stay_within_the_bound(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    await several_tokens(bench, MAX_VALID)
    await bench.password_reset.request(ANN, SELF)
    bench.clock.at += WAITS[MAX_VALID]
    await bench.verified_registration.register(ANN, PASSWORD, SELF)
    assert await bench.outbox.deliver_due() == 2
    stored = await bench.execute("SELECT FROM one_time_tokens")
    assert len(stored) == MAX_VALID


async def test_failed_deliveries_displace_no_delivered_token(bench: RecoveryBench) -> None:
    await bench.register(ANN, PASSWORD, SELF)
    (arrived,) = await several_tokens(bench, 1)
    await bench.password_reset.request(ANN, SELF)
    for _ in range(MAX_VALID + 1):
        bench.sent.fails = [DeliveryError("TimeoutError")]
        assert await bench.outbox.deliver_due() == 1
        bench.clock.advance(minutes=1)
    await bench.password_reset.reset(arrived, NEW, SELF)
