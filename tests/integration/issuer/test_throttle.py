"""Guessing slows down, exactly and for everybody alike, and an owner is not locked out by it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import bcrypt  # noqa: TID251 - makes a hash of another system
import pytest
from argon2 import Parameters, Type  # noqa: TID251 - cheap parameters for many hashes

from issuer.accounts import Accounts
from issuer.admission import Admission
from issuer.audit import Origin
from issuer.errors import InvalidCredentialsError, TooManyAttemptsError
from issuer.metrics import Metrics
from issuer.password_policy import PasswordPolicy
from issuer.passwords import Passwords
from issuer.store.database import Database
from issuer.store.throttles import Throttles
from issuer.store.users import Users
from issuer.throttle import Action, Attempt, Throttle, delay, limits
from tests.support.postgres import execute
from tests.support.session_bench import session_bench

CHEAP = Parameters(type=Type.ID, version=19, salt_len=16, hash_len=32, time_cost=1, memory_cost=64, parallelism=1)
PASSWORD = "a long and lonely walk"
FOREIGN_HASH = bcrypt.hashpw(PASSWORD.encode(), b"$2b$04$ifiBFuIw3GB3mMz9dBEqq.").decode()
ANN = "ann@example.com"
NOBODY = "nobody@example.com"
HOME = Origin("self", "192.0.2.7")
ELSEWHERE = Origin("self", "198.51.100.1")


INSERT_SESSION = """
INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at, ended_at,
                      end_reason, status_list_id, status_idx, address)
SELECT $1, id, '', '', now(), now(), now(), now(), CASE WHEN $3::text IS NOT NULL THEN $2::timestamptz END, $3, 1,
       (SELECT count(*) FROM sessions), $4
FROM users WHERE email_key = $5
"""


def stranger(number: int) -> Origin:
    return Origin("self", f"203.0.113.{number}")


@dataclass
class Issuer:
    """The use cases of one issuer over the real store, at a time that the test states."""

    url: str
    database: Database
    accounts: Accounts
    throttle: Throttle
    metrics: Metrics
    now: list[datetime] = field(default_factory=list)

    def passes(self, **time: float) -> None:
        self.now[0] += timedelta(**time)

    def hashes(self) -> float:
        return self.metrics.registry.get_sample_value("gatepass_issuer_argon2_computations_total") or 0

    def throttled(self, scope: str) -> float:
        return self.metrics.registry.get_sample_value("gatepass_issuer_throttled_total", {"scope": scope}) or 0

    async def login(
        self, email: str, origin: Origin, password: str = PASSWORD, session: uuid.UUID | None = None
    ) -> int | str:
        """`accepted`, `refused`, or after how many seconds to try again."""
        try:
            await self.accounts.authenticate(email, password, origin, session)
        except InvalidCredentialsError:
            return "refused"
        except TooManyAttemptsError as error:
            return error.retry_after
        return "accepted"

    async def admit(self, email: str, origin: Origin) -> Attempt:
        """A login that has passed the throttle and not been hashed yet."""
        claim = self.throttle.claim(email, origin)
        standing, _ = await Users(self.database).find_login(claim, self.now[0])
        return self.throttle.admit_login(claim, standing)

    async def fail(self, email: str, origin: Origin, times: int = 1) -> list[int | str]:
        return [await self.login(email, origin, "wrong") for _ in range(times)]

    async def execute(self, statement: str, *arguments: object) -> None:
        async with self.database.connection() as connection:
            await connection.execute(statement, *arguments)

    async def has_session(self, email: str, address: str | None, reason: str | None = None) -> uuid.UUID:
        session, now = uuid.uuid4(), self.now[0]
        await self.execute(INSERT_SESSION, session, now, reason, address, email)
        return session


@asynccontextmanager
async def running(url: str, secret: bytes = b"s" * 32, per_address: int = 1000) -> AsyncIterator[Issuer]:
    metrics, now = Metrics(), [datetime.now(UTC)]
    admission, database = Admission(2, 30), Database(url, 8)
    await database.open()
    throttle = Throttle(Throttles(database), lambda: secret, limits(per_address, 5), metrics, lambda: now[0])
    accounts = Accounts(
        Users(database),
        Passwords(admission, metrics, CHEAP),
        PasswordPolicy(15),
        throttle,
        metrics,
        lambda: now[0],
        uuid.uuid4,
    )
    try:
        yield Issuer(url, database, accounts, throttle, metrics, now)
    finally:
        admission.close()
        await database.close()


def play(url: str, scene: Callable[[Issuer], Awaitable[None]], per_address: int = 1000) -> None:
    """Play a scene with Ann registered."""

    async def run() -> None:
        async with running(url, per_address=per_address) as issuer:
            await issuer.accounts.register(ANN, PASSWORD, HOME)
            await scene(issuer)

    asyncio.run(run())


def test_delays_begin_at_a_second_and_double_up_to_a_quarter_of_an_hour() -> None:
    seconds = [delay(failures, 10).total_seconds() for failures in (1, 10, 11, 12, 13, 20, 21, 10**9)]
    assert seconds == [0, 0, 1, 2, 4, 512, 900, 900]


def test_after_ten_free_failures_each_further_one_costs_twice_the_wait(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        assert await issuer.fail(ANN, ELSEWHERE, 11) == ["refused"] * 11
        assert await issuer.login(ANN, ELSEWHERE) == 1
        issuer.passes(seconds=1)
        assert await issuer.fail(ANN, ELSEWHERE, 2) == ["refused", 2]
        issuer.passes(seconds=2)
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"
        assert issuer.throttled("pair") == 2

    play(database_url, scene)


def test_a_free_failure_that_was_counted_a_moment_later_blocks_nobody(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.fail(ANN, ELSEWHERE, 5)
        issuer.passes(microseconds=-1)
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"

    play(database_url, scene)


def test_who_is_blocked_costs_no_hash_and_does_not_stay_blocked_for_trying(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.fail(ANN, ELSEWHERE, 14)
        before = issuer.hashes()
        waits = await issuer.fail(ANN, ELSEWHERE, 50)
        assert (set(waits), issuer.hashes() - before) == ({1}, 0)
        issuer.passes(seconds=1)
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"

    play(database_url, scene)


def test_accounts_that_exist_and_that_do_not_are_slowed_down_alike(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        told: dict[str, list[int | str]] = {ANN: [], NOBODY: []}
        for number in range(130):
            for email, answers in told.items():
                answers.extend(await issuer.fail(email, stranger(number)))
                answers.extend(await issuer.fail(email, ELSEWHERE))
            if number % 2:
                issuer.passes(minutes=16)
        assert told[ANN] == told[NOBODY]
        assert {"refused", 900} <= set(told[ANN])

    play(database_url, scene)


def test_a_hundred_failures_at_once_are_counted_as_a_hundred_by_several_issuers(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        async with running(database_url) as other:
            other.now[0] = issuer.now[0]
            attempts = [
                (await each.admit(NOBODY, stranger(number)), each.throttle)
                for number in range(50)
                for each in (issuer, other)
            ]
            last = await asyncio.gather(*(throttle.count_failure(attempt) for attempt, throttle in attempts))
            assert sum(last) == 1

    play(database_url, scene)
    rows = execute(database_url, "SELECT failures FROM throttles ORDER BY failures")
    registration, addresses_and_pairs, account = [1], [2] * 100, [100]
    assert [row["failures"] for row in rows] == registration + addresses_and_pairs + account


def test_a_second_issuer_sees_what_the_first_has_counted(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.fail(ANN, ELSEWHERE, 11)
        async with running(database_url) as other:
            assert await other.login(ANN, ELSEWHERE) == 1

    play(database_url, scene)


@pytest.mark.parametrize(
    ("condition", "statement"),
    [
        ("accepted", "SELECT"),
        ("refused", "UPDATE users SET disabled_at = now()"),
        ("refused", "UPDATE users SET password_disabled_at = now()"),
        ("refused", "UPDATE users SET password_hash = 'not a hash at all, alas'"),
        ("refused", "UPDATE users SET email_key = 'somebody.else@example.com'"),
        ("accepted", f"UPDATE users SET password_hash = '{FOREIGN_HASH}'"),
        ("refused", f"UPDATE users SET password_hash = '{FOREIGN_HASH}', disabled_at = now()"),
    ],
)
def test_every_path_through_a_login_computes_one_hash(database_url: str, condition: str, statement: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.execute(statement)
        for password, expected in ((PASSWORD, condition), ("wrong", "refused"), ("", "refused")):
            before = issuer.hashes()
            assert await issuer.login(ANN, ELSEWHERE, password) == expected
            assert issuer.hashes() - before == 1

    play(database_url, scene)


def test_a_success_forgives_the_account_and_the_pair_but_never_the_address(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.accounts.register("mallory@example.com", PASSWORD, ELSEWHERE)
        for victim in range(10):
            await issuer.fail(f"victim{victim}@example.com", ELSEWHERE)
            await issuer.fail("mallory@example.com", ELSEWHERE)
            assert await issuer.login("mallory@example.com", ELSEWHERE) == "accepted"
        await issuer.fail(NOBODY, ELSEWHERE)
        assert await issuer.login("mallory@example.com", ELSEWHERE) == 1
        assert await issuer.login(ANN, HOME) == "accepted"
        assert issuer.throttled("address") == 1
        await issuer.fail(ANN, HOME, 10)
        assert await issuer.login(ANN, HOME) == "accepted"
        assert await issuer.fail(ANN, HOME, 10) == ["refused"] * 10

    play(database_url, scene, per_address=20)


def test_an_address_is_forgiven_after_an_hour_though_it_goes_on(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        for number in range(6):
            await issuer.fail(f"victim{number}@example.com", ELSEWHERE)
        assert await issuer.login(ANN, ELSEWHERE) == 1
        issuer.passes(minutes=59)
        await issuer.fail(NOBODY, ELSEWHERE)
        assert await issuer.login(ANN, ELSEWHERE) == 2
        issuer.passes(minutes=1)
        assert await issuer.fail(NOBODY, ELSEWHERE, 5) == ["refused"] * 5
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"

    play(database_url, scene, per_address=5)


def test_all_addresses_of_an_ipv6_customer_are_one(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        for number in range(11):
            await issuer.fail(ANN, Origin("self", f"2001:db8:1:2::{number:x}"))
        assert await issuer.login(ANN, Origin("self", "2001:db8:1:2:ffff::1")) == 1
        assert await issuer.login(ANN, Origin("self", "2001:db8:1:3::1")) == "accepted"

    play(database_url, scene)


def test_who_has_no_address_shares_one_limit(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.fail(ANN, Origin("self"), 11)
        assert await issuer.login(ANN, Origin("self")) == 1

    play(database_url, scene)


async def attacked(issuer: Issuer) -> None:
    """Strangers fail until the account is blocked for a quarter of an hour."""
    for number in range(80):
        await issuer.fail(ANN, stranger(number))
        if number > 50:
            issuer.passes(minutes=15)
    await issuer.fail(ANN, stranger(200))


def test_strangers_block_strangers_and_not_the_owner_at_home(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.has_session(ANN, "192.0.2.7", "logout")
        await attacked(issuer)
        assert await issuer.login(ANN, ELSEWHERE) == 900
        assert issuer.throttled("account") >= 1
        assert await issuer.login(ANN, HOME) == "accepted"

    play(database_url, scene)


def test_a_refresh_token_of_the_account_lets_its_owner_in_from_anywhere(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.accounts.register("mallory@example.com", PASSWORD, ELSEWHERE)
        own, foreign = await issuer.has_session(ANN, None), await issuer.has_session("mallory@example.com", None)
        stolen = await issuer.has_session(ANN, None, "reused")
        await attacked(issuer)
        for session in (foreign, stolen, uuid.uuid4()):
            assert await issuer.login(ANN, ELSEWHERE, session=session) == 900
        assert await issuer.login(ANN, ELSEWHERE, session=own) == "accepted"

    play(database_url, scene)


def test_an_owner_is_not_blocked_by_others_at_the_same_address(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        session = await issuer.has_session(ANN, None)
        await issuer.fail(NOBODY, HOME, 6)
        await issuer.fail(ANN, HOME, 12)
        assert isinstance(await issuer.login(ANN, HOME), int)
        assert await issuer.login(ANN, HOME, session=session) == "accepted"

    play(database_url, scene, per_address=5)


def test_who_is_known_is_still_limited_as_a_pair(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        session = await issuer.has_session(ANN, "192.0.2.7")
        await issuer.fail(ANN, HOME, 11)
        assert await issuer.login(ANN, HOME) == 1
        for number in range(11):
            await issuer.login(ANN, stranger(number), "wrong", session)
        assert await issuer.login(ANN, stranger(11), session=session) == 1

    play(database_url, scene)


async def worn_out(issuer: Issuer, email: str, failures: int) -> None:
    for number in range(failures):
        assert await issuer.fail(email, stranger(number)) == ["refused"]
        if number >= 50:
            issuer.passes(minutes=15)


def test_after_a_hundred_failures_in_a_row_the_password_opens_nothing_to_strangers(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await worn_out(issuer, ANN, 99)
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"
        await worn_out(issuer, ANN, 100)
        assert await issuer.login(ANN, ELSEWHERE) == "refused"
        issuer.passes(days=30)
        assert await issuer.login(ANN, ELSEWHERE) == "refused"
        await issuer.has_session(ANN, "192.0.2.7")
        assert await issuer.login(ANN, HOME) == "accepted"
        assert await issuer.login(ANN, ELSEWHERE) == "refused"

    play(database_url, scene)
    rows = execute(
        database_url, "SELECT kind, user_id, actor, address::text FROM audit_events WHERE kind LIKE 'password%'"
    )
    assert [row["kind"] for row in rows] == ["password_disabled"]
    users = execute(database_url, "SELECT id, security_version FROM users")
    assert (rows[0]["user_id"], rows[0]["actor"]) == (users[0]["id"], None)
    assert users[0]["security_version"] == 1


def test_a_guess_that_was_in_work_when_the_hundredth_failed_begins_no_session(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        async with session_bench(database_url) as bench:
            in_work = await issuer.accounts.authenticate(ANN, PASSWORD, ELSEWHERE)
            await worn_out(issuer, ANN, 99)
            assert (await bench.sessions.begin(in_work, ELSEWHERE)).refresh_token
            await worn_out(issuer, ANN, 1)
            with pytest.raises(InvalidCredentialsError):
                await bench.sessions.begin(in_work, ELSEWHERE)

    play(database_url, scene)


def test_counting_and_forgiving_at_once_do_not_wait_for_each_other(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        attempts = [await issuer.admit(ANN, stranger(number % 3)) for number in range(60)]
        await asyncio.gather(
            *(issuer.throttle.count_failure(attempt) for attempt in attempts),
            *(issuer.throttle.forgive(ANN, stranger(number % 3)) for number in range(60)),
        )

    play(database_url, scene)


def test_a_reset_forgives(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await attacked(issuer)
        await issuer.fail(ANN, ELSEWHERE, 20)
        await issuer.throttle.forgive(ANN, ELSEWHERE)
        assert await issuer.login(ANN, ELSEWHERE) == "accepted"

    play(database_url, scene)


@pytest.mark.parametrize("action", list(Action))
def test_requests_of_one_address_are_limited_and_come_back_after_ten_minutes(
    database_url: str, action: Action
) -> None:
    async def scene(issuer: Issuer) -> None:
        for _ in range(5):
            await issuer.throttle.admit(action, ELSEWHERE)
        issuer.passes(minutes=4)
        for _ in range(3):
            with pytest.raises(TooManyAttemptsError) as refused:
                await issuer.throttle.admit(action, ELSEWHERE)
            assert refused.value.retry_after == 360
        await issuer.throttle.admit(action, stranger(1))
        issuer.passes(minutes=6)
        await issuer.throttle.admit(action, ELSEWHERE)
        assert issuer.throttled(action) == 3

    play(database_url, scene)


def test_the_table_names_nobody(database_url: str) -> None:
    async def scene(issuer: Issuer) -> None:
        await issuer.fail(ANN, ELSEWHERE)
        async with running(database_url, secret=b"t" * 32) as other:
            await other.fail(ANN, ELSEWHERE)

    play(database_url, scene)
    keys = [row["key"] for row in execute(database_url, "SELECT key FROM throttles")]
    assert len(keys) == len(set(keys)) == 1 + 2 * 3
    assert not any(b"ann" in key for key in keys)
