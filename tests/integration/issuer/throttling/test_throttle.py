"""Password guessing is delayed exactly as documented, and a user with a session can still log in."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bcrypt  # noqa: TID251 - makes a hash of another system
import pytest

from issuer.accounts.login import LoginService, TokenParameters
from issuer.context import RequestContext
from issuer.errors import InvalidClientError, InvalidCredentialsError, InvalidScopeError, TooManyAttemptsError
from issuer.keys.mac_secrets import MacSecret
from issuer.passwords.hasher import PasswordCheck
from issuer.throttling.login_limits import delay
from issuer.throttling.models import CounterKind, LimitedAction, ShownSession
from issuer.tokens.models import PublicClient
from tests.support.login_bench import PASSWORD, LoginBench, burst, login_bench
from tests.support.postgres import LOCK_AUDIT_TRAIL, wait_until_blocked
from tests.support.session_bench import LOGIN, SessionBench, session_bench

pytestmark = pytest.mark.anyio

FOREIGN_HASH = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()
ANN = "ann@example.com"
MALLORY = "mallory@example.com"
UNKNOWN = "unknown@example.com"
HOME = RequestContext("self", "192.0.2.7")
ELSEWHERE = RequestContext("self", "198.51.100.1")


def other_client(number: int) -> RequestContext:
    return RequestContext("self", f"203.0.113.{number}")


@asynccontextmanager
async def registered(url: str, per_network: int = 1000) -> AsyncIterator[LoginBench]:
    """Yield an issuer at which Ann has registered."""
    async with login_bench(url, per_network=per_network) as issuer:
        await issuer.registration.register(ANN, PASSWORD, HOME)
        yield issuer


@pytest.fixture
async def issuer(database_url: str) -> AsyncIterator[LoginBench]:
    async with registered(database_url) as issuer:
        yield issuer


async def disabled(issuer: LoginBench, email: str) -> None:
    """Fail from different networks until the password is disabled, and wait until the delay is over."""
    for number in range(100):
        assert await issuer.fail(email, other_client(number)) == ["rejected"]
        if number >= 48:
            issuer.passes(minutes=15)


def test_delays_begin_at_a_second_and_double_up_to_a_quarter_of_an_hour() -> None:
    seconds = [delay(failures, 10).total_seconds() for failures in (1, 9, 10, 11, 12, 19, 20, 10**9)]
    assert seconds == [0, 0, 1, 2, 4, 512, 900, 900]


async def test_after_ten_failures_each_further_one_doubles_the_delay(issuer: LoginBench) -> None:
    assert await issuer.fail(ANN, ELSEWHERE, 10) == ["rejected"] * 10
    assert await issuer.login(ANN, ELSEWHERE) == 1
    issuer.passes(seconds=1)
    assert await issuer.fail(ANN, ELSEWHERE, 2) == ["rejected", 2]
    issuer.passes(seconds=2)
    assert await issuer.login(ANN, ELSEWHERE) == "accepted"
    assert issuer.throttled("pair") == 2


async def test_a_failure_counted_late_blocks_no_client(issuer: LoginBench) -> None:
    await issuer.fail(ANN, ELSEWHERE, 5)
    issuer.passes(microseconds=-1)
    assert await issuer.login(ANN, ELSEWHERE) == "accepted"


async def test_a_blocked_login_costs_no_hash_and_does_not_extend_the_block(issuer: LoginBench) -> None:
    await issuer.fail(ANN, ELSEWHERE, 10)
    before = issuer.hashes()
    waits = await issuer.fail(ANN, ELSEWHERE, 50)
    assert (set(waits), issuer.hashes() - before) == ({1}, 0)
    issuer.passes(seconds=1)
    assert await issuer.login(ANN, ELSEWHERE) == "accepted"


async def test_existing_and_unknown_accounts_are_delayed_alike(issuer: LoginBench) -> None:
    results: dict[str, list[int | str]] = {ANN: [], UNKNOWN: []}
    for number in range(130):
        for email, responses in results.items():
            responses.extend(await issuer.fail(email, other_client(number)))
            responses.extend(await issuer.fail(email, ELSEWHERE))
        if number % 2:
            issuer.passes(minutes=16)
    assert results[ANN] == results[UNKNOWN]
    assert {"rejected", 900} <= set(results[ANN])


async def test_a_burst_at_several_issuers_gets_no_more_tries_than_the_limit(
    issuer: LoginBench, database_url: str
) -> None:
    async with login_bench(database_url, now=issuer.now) as other:
        for email in (ANN, UNKNOWN):
            assert await burst([issuer, other], email, [ELSEWHERE] * 40) == 10
            other_clients = [other_client(number) for number in range(60)]
            assert await burst([issuer, other], email, other_clients) == 40
            assert await other.login(email, HOME) == 1


async def test_a_correct_guess_beyond_the_limit_is_not_revealed(issuer: LoginBench, database_url: str) -> None:
    async with session_bench(database_url) as bench:
        issuer.now[0] = bench.now
        in_work = await issuer.authenticator.authenticate(ANN, PASSWORD, ELSEWHERE)
        await issuer.fail(ANN, ELSEWHERE, 9)
        assert (await bench.sessions.create(in_work.account, LOGIN, ELSEWHERE, in_work.limits)).refresh_token
        await issuer.fail(ANN, ELSEWHERE, 10)
        with pytest.raises(TooManyAttemptsError):
            await bench.sessions.create(in_work.account, LOGIN, ELSEWHERE, in_work.limits)


def login_service(issuer: LoginBench, bench: SessionBench) -> LoginService:
    """Return the login of first-party users, whose clock becomes that of the sessions."""
    issuer.now[0], sessions = bench.now, bench.sessions
    return LoginService(issuer.authenticator, LOGIN.client, _no_other_client, sessions, sessions.metrics)


def fail_after_the_hash(monkeypatch: pytest.MonkeyPatch, issuer: LoginBench, other: LoginBench) -> None:
    """Let ten logins fail at another issuer after each hash and before the login is counted."""
    verify = issuer.authenticator._passwords.verify

    async def verify_while_others_fail(*arguments: Any) -> PasswordCheck:
        check = await verify(*arguments)
        await other.fail(ANN, ELSEWHERE, 10)
        return check

    monkeypatch.setattr(issuer.authenticator._passwords, "verify", verify_while_others_fail)


async def test_a_login_that_is_limited_after_its_hash_counts_once(
    issuer: LoginBench, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session_bench(database_url) as bench, login_bench(database_url, now=issuer.now) as other:
        logins = login_service(issuer, bench)
        fail_after_the_hash(monkeypatch, issuer, other)
        with pytest.raises(TooManyAttemptsError):
            await logins.log_in(ANN, PASSWORD, ELSEWHERE, "", TokenParameters())
        count = bench.sessions.metrics.registry.get_sample_value
        assert count("gatepass_issuer_logins_total", {"outcome": "throttled"}) == 1


async def test_an_invalid_scope_does_not_reveal_a_correct_guess_beyond_the_limit(
    issuer: LoginBench, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with session_bench(database_url) as bench, login_bench(database_url, now=issuer.now) as other:
        logins = login_service(issuer, bench)
        parameters = TokenParameters(scope="more than the account has")
        with pytest.raises(InvalidScopeError):
            await logins.log_in(ANN, PASSWORD, ELSEWHERE, "", parameters)
        fail_after_the_hash(monkeypatch, issuer, other)
        with pytest.raises(TooManyAttemptsError):
            await logins.log_in(ANN, PASSWORD, ELSEWHERE, "", parameters)


async def _no_other_client(client_id: str) -> PublicClient:
    raise InvalidClientError(client_id)


async def test_parallel_correct_logins_are_not_limited(issuer: LoginBench) -> None:
    assert set(await asyncio.gather(*(issuer.login(ANN, HOME) for _ in range(50)))) == {"accepted"}
    assert len(await issuer.execute("SELECT FROM rate_limit_counters")) == 1, "only the registration was counted"


@pytest.mark.parametrize(
    ("condition", "statement"),
    [
        ("accepted", "SELECT"),
        ("rejected", "UPDATE users SET disabled_at = now()"),
        ("rejected", "UPDATE users SET password_disabled_at = now()"),
        ("rejected", "UPDATE users SET password_hash = 'not a hash at all, alas'"),
        ("rejected", "UPDATE users SET email_key = 'another.user@example.com'"),
        ("accepted", f"UPDATE users SET password_hash = '{FOREIGN_HASH}'"),
        ("rejected", f"UPDATE users SET password_hash = '{FOREIGN_HASH}', disabled_at = now()"),
    ],
)
async def test_every_path_through_a_login_computes_one_hash(
    issuer: LoginBench, condition: str, statement: str
) -> None:
    await issuer.execute(statement)
    for password, expected in ((PASSWORD, condition), ("wrong", "rejected"), ("", "rejected")):
        before = issuer.hashes()
        assert await issuer.login(ANN, ELSEWHERE, password) == expected
        assert issuer.hashes() - before == 1


async def test_a_successful_login_clears_only_its_own_network(issuer: LoginBench) -> None:
    await issuer.fail(ANN, ELSEWHERE, 9)
    for _ in range(10):
        assert await issuer.fail(ANN, HOME, 9) == ["rejected"] * 9
        assert await issuer.login(ANN, HOME) == "accepted"
    for number in range(41):
        assert await issuer.fail(ANN, other_client(number)) == ["rejected"]
    assert await issuer.login(ANN, HOME) == 1, "50 failures elsewhere, and those from home are forgiven"
    assert await issuer.login(UNKNOWN, HOME) == "rejected"


async def test_a_login_to_an_own_account_gives_an_attacker_no_more_guesses(database_url: str) -> None:
    async with registered(database_url, per_network=20) as issuer:
        await issuer.registration.register(MALLORY, PASSWORD, ELSEWHERE)
        for victim in range(10):
            await issuer.fail(f"victim{victim}@example.com", ELSEWHERE)
            await issuer.fail(MALLORY, ELSEWHERE)
            if victim < 9:
                assert await issuer.login(MALLORY, ELSEWHERE) == "accepted"
        assert await issuer.login(MALLORY, ELSEWHERE) == 1
        assert await issuer.login(ANN, HOME) == "accepted"
        assert issuer.throttled("network") == 1


async def test_an_ip_address_is_cleared_after_an_hour(database_url: str) -> None:
    async with registered(database_url, per_network=5) as issuer:
        for number in range(5):
            await issuer.fail(f"victim{number}@example.com", ELSEWHERE)
        assert await issuer.login(ANN, ELSEWHERE) == 1
        issuer.passes(minutes=59)
        await issuer.fail(UNKNOWN, ELSEWHERE)
        assert await issuer.login(ANN, ELSEWHERE) == 2
        issuer.passes(minutes=1)
        assert await issuer.fail(UNKNOWN, ELSEWHERE, 4) == ["rejected"] * 4
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"


async def test_all_ip_addresses_of_an_ipv6_network_share_a_counter(issuer: LoginBench) -> None:
    for number in range(10):
        await issuer.fail(ANN, RequestContext("self", f"2001:db8:1:2::{number:x}"))
    assert await issuer.login(ANN, RequestContext("self", "2001:db8:1:2:ffff::1")) == 1
    assert await issuer.login(ANN, RequestContext("self", "2001:db8:1:3::1")) == "accepted"


async def test_clients_without_an_ip_address_share_a_counter(issuer: LoginBench) -> None:
    await issuer.fail(ANN, RequestContext("self"), 10)
    assert await issuer.login(ANN, RequestContext("self")) == 1


async def attacked(issuer: LoginBench) -> None:
    """Fail from unknown networks until the account is blocked for a quarter of an hour."""
    for number in range(62):
        assert await issuer.fail(ANN, other_client(number)) == ["rejected"]
        issuer.passes(minutes=15 if number > 48 else 0)
    assert await issuer.fail(ANN, other_client(200)) == ["rejected"]


async def test_a_session_of_the_account_permits_a_login_from_anywhere(issuer: LoginBench) -> None:
    own = await issuer.session_of(ANN)
    await attacked(issuer)
    assert await issuer.login(ANN, ELSEWHERE) == 900
    assert await issuer.login(ANN, ELSEWHERE, shown=own) == "accepted"
    assert await issuer.login(ANN, ELSEWHERE, shown=ShownSession(own.id)) == "accepted"
    assert await issuer.login(ANN, ELSEWHERE) == 900, "a proven success is no reason to trust other clients"
    assert issuer.throttled("account") == 2


async def test_sessions_of_other_accounts_permit_nothing(issuer: LoginBench) -> None:
    await issuer.registration.register(MALLORY, PASSWORD, ELSEWHERE)
    foreign, ended, expired = [await issuer.session_of(email) for email in (MALLORY, ANN, ANN)]
    own = await issuer.session_of(ANN)
    await issuer.end(ended.id)
    await issuer.execute("UPDATE sessions SET idle_expires_at = now() WHERE id = $1", expired.id)
    used, unknown = ShownSession(own.id, 3), ShownSession(uuid.uuid4(), 5)
    await attacked(issuer)
    for shown in (foreign, ended, expired, used, unknown):
        assert await issuer.login(ANN, ELSEWHERE, shown=shown) == 900
    assert await issuer.login(ANN, ELSEWHERE, shown=ShownSession(own.id, 4)) == "accepted", "its response was lost"


async def test_own_sessions_give_no_more_guesses_at_other_accounts(issuer: LoginBench) -> None:
    await issuer.registration.register(MALLORY, PASSWORD, HOME)
    assert await issuer.login(ANN, HOME) == "accepted"
    shown = [await issuer.session_of(MALLORY) for _ in range(160)]
    results = [await issuer.login(ANN, HOME, "wrong", each) for each in shown]
    assert results == ["rejected"] * 10 + [1] * 150
    assert await issuer.login(ANN, HOME, PASSWORD, shown[0]) == 1


async def test_a_user_is_not_blocked_by_others_with_the_same_ip_address(database_url: str) -> None:
    async with registered(database_url, per_network=5) as issuer:
        own = await issuer.session_of(ANN)
        await issuer.fail(UNKNOWN, HOME, 6)
        await issuer.fail(ANN, HOME, 12)
        assert isinstance(await issuer.login(ANN, HOME), int)
        assert await issuer.login(ANN, HOME, shown=own) == "accepted"


async def test_a_stolen_session_is_limited_without_affecting_others(issuer: LoginBench) -> None:
    stolen, own = [await issuer.session_of(ANN) for _ in range(2)]
    results = [await issuer.login(ANN, other_client(number), "wrong", stolen) for number in range(11)]
    assert results == ["rejected"] * 10 + [1]
    assert await issuer.reauthenticate(ANN, ELSEWHERE, PASSWORD, stolen.id) == 1
    assert await issuer.login(ANN, ELSEWHERE, shown=own) == "accepted"
    assert await issuer.login(ANN, ELSEWHERE) == "accepted"
    assert issuer.throttled("session") == 2


async def test_many_stolen_sessions_are_limited_together(issuer: LoginBench) -> None:
    results = []
    for _ in range(20):
        stolen = await issuer.session_of(ANN)
        results += [await issuer.login(ANN, ELSEWHERE, "wrong", stolen) for _ in range(10)]
    assert results.count("rejected") == 100 + 10, "a hundred with a session, and those that any client has"
    assert await issuer.login(ANN, HOME) == "accepted"


async def test_a_burst_with_a_session_gets_no_more_tries_than_its_limit(issuer: LoginBench) -> None:
    own = await issuer.session_of(ANN)
    right = issuer.reauthenticate(ANN, ELSEWHERE, PASSWORD, own.id)
    assert await burst([issuer], ANN, [ELSEWHERE] * 60, own) == 10
    assert await right == 1


async def test_after_a_hundred_failures_the_password_is_locked_for_unknown_clients(issuer: LoginBench) -> None:
    assert await issuer.login(ANN, HOME) == "accepted"
    own = await issuer.session_of(ANN)
    await disabled(issuer, ANN)
    assert await issuer.login(ANN, HOME) == "rejected"
    issuer.passes(days=8)
    for context in (HOME, ELSEWHERE, other_client(3)):
        assert await issuer.login(ANN, context) == await issuer.login(UNKNOWN, context) == "rejected"
    assert await issuer.login(ANN, ELSEWHERE, shown=own) == "accepted"
    assert await issuer.login(ANN, HOME) == "rejected"
    (event,) = await issuer.execute("SELECT kind, user_id, actor FROM audit_events WHERE kind LIKE 'password%'")
    (user,) = await issuer.execute("SELECT id, security_version FROM users")
    assert tuple(event) == ("password_disabled", user["id"], None)
    assert user["security_version"] == 1


async def test_a_guess_checked_during_the_lock_creates_no_session(issuer: LoginBench, database_url: str) -> None:
    async with session_bench(database_url) as bench:
        in_work = await issuer.authenticator.authenticate(ANN, PASSWORD, ELSEWHERE)
        await disabled(issuer, ANN)
        with pytest.raises(InvalidCredentialsError):
            await bench.sessions.create(in_work.account, LOGIN, ELSEWHERE)


async def test_parallel_failures_and_successes_neither_deadlock_nor_lose_a_count(issuer: LoginBench) -> None:
    contexts = [other_client(number % 3) for number in range(90)]
    failures, *_ = await asyncio.gather(
        burst([issuer], MALLORY, contexts),
        burst([issuer], ANN, contexts[:25]),
        *(issuer.login(ANN, context) for context in contexts),
        *(issuer.throttle.reset(ANN, context) for context in contexts),
    )
    assert failures == 3 * 10, "of each network ten, so that no failure was lost"


async def test_the_failure_that_disables_a_password_locks_the_account_before_the_audit_trail(
    issuer: LoginBench,
) -> None:
    """A password change locks the account, then waits for the audit trail: the opposite order would deadlock."""
    await issuer.fail(ANN, HOME)
    key = issuer.throttle.attempt(ANN, ELSEWHERE).keys[CounterKind.ACCOUNT]
    await issuer.execute("UPDATE rate_limit_counters SET count = 99 WHERE key = $1", key)
    issuer.passes(minutes=15)
    admitted = await issuer.admit(ANN, ELSEWHERE)
    async with issuer.database.transaction() as connection:
        await connection.execute("SELECT FROM users FOR UPDATE")
        failure = asyncio.create_task(issuer.count_failure(admitted, ELSEWHERE))
        await wait_until_blocked(issuer.database, failure)
        await connection.execute(LOCK_AUDIT_TRAIL)
    assert await failure


async def test_a_password_reset_clears_the_counters(issuer: LoginBench) -> None:
    await attacked(issuer)
    await issuer.fail(ANN, ELSEWHERE, 20)
    await issuer.throttle.reset(ANN, ELSEWHERE)
    assert await issuer.login(ANN, ELSEWHERE) == "accepted"


@pytest.mark.parametrize("action", list(LimitedAction))
async def test_requests_of_an_ip_address_are_limited_for_ten_minutes(
    issuer: LoginBench, action: LimitedAction
) -> None:
    for _ in range(5):
        await issuer.throttle.admit(action, ELSEWHERE)
    issuer.passes(minutes=4)
    for _ in range(3):
        with pytest.raises(TooManyAttemptsError) as error:
            await issuer.throttle.admit(action, ELSEWHERE)
        assert error.value.retry_after == 360
    await issuer.throttle.admit(action, other_client(1))
    issuer.passes(minutes=6)
    await issuer.throttle.admit(action, ELSEWHERE)
    assert issuer.throttled(action) == 3


async def test_counters_hold_no_email_and_no_ip_address(issuer: LoginBench, database_url: str) -> None:
    await issuer.fail(ANN, ELSEWHERE)
    async with login_bench(database_url, secret=MacSecret("", b"t" * 32)) as other:
        await other.fail(ANN, ELSEWHERE)
    keys = [row["key"] for row in await issuer.execute("SELECT key FROM rate_limit_counters")]
    assert len(keys) == len(set(keys)) == 1 + 2 * 3
    assert not any(b"ann" in key for key in keys)
