"""Recovery of accounts on a real PostgreSQL, with a test clock."""

import asyncio
from contextlib import nullcontext
from typing import Any
from uuid import UUID, uuid4

import pytest

from issuer.accounts.models import Account
from issuer.audit.events import RevocationReason
from issuer.errors import EmailTakenError, InvalidCredentialsError, InvalidFieldsError, InvalidOneTimeTokenError
from issuer.mail.store import OutboxStore
from issuer.throttling.login_limits import MAX_FAILURES
from issuer.tokens.one_time_token import OneTimeToken, TokenPurpose, hash_of
from tests.support.postgres import wait_until_blocked
from tests.support.recovery_bench import PASSWORD, SELF, RecoveryBench, bench, recovery_bench

__all__ = ["bench"]
pytestmark = pytest.mark.anyio

ANN = "ann@example.com"
NEW = "another long and lonely walk"
THIRD = "a third long and lonely walk"
RESET_TOKEN = OneTimeToken(TokenPurpose.RESET_PASSWORD, "", bytes(32))
# Of "walrus walrus walrus", at 8 KiB and one pass.
CHEAPER_HASH = "$argon2id$v=19$m=8,t=1,p=1$HnwRC06buitboCiHFdxMYg$bLQxQqhEA+Lmtx/5a54NFwDlGKRU+mcdyZ9rTkTQLlo"


async def kinds(bench: RecoveryBench) -> list[str]:
    """Return the kinds of audit events except failed logins, which these tests cause to try passwords."""
    results = await bench.execute("SELECT kind FROM audit_events WHERE kind <> 'login_failed' ORDER BY at")
    return [row["kind"] for row in results]


async def create_session(bench: RecoveryBench, user_id: UUID) -> UUID:
    session_id = uuid4()
    await bench.execute(
        "INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,"
        " status_list_id, status_idx) SELECT $1, $2, 'first-party', 'profile', now(), now(), later, later, 1,"
        " (SELECT count(*) FROM sessions) FROM (SELECT now() + interval '1 day' AS later)",
        session_id,
        user_id,
    )
    return session_id


async def live_sessions(bench: RecoveryBench) -> set[UUID]:
    return {row["id"] for row in await bench.execute("SELECT id FROM sessions WHERE ended_at IS NULL")}


async def opens(bench: RecoveryBench, password: str, email: str = ANN) -> bool:
    try:
        await bench.authenticator.authenticate(email, password, SELF)
    except InvalidCredentialsError:
        return False
    return True


async def register(bench: RecoveryBench, email: str = ANN) -> Account:
    return await bench.register(email, PASSWORD, SELF)


async def outcomes(*attempts: Any) -> list[Any]:
    return list(await asyncio.gather(*attempts, return_exceptions=True))


async def test_a_reset_sets_the_password_and_revokes_every_session(bench: RecoveryBench) -> None:
    account = await register(bench)
    for _ in range(3):
        await create_session(bench, account.id)
    await bench.password_reset.reset(await bench.reset_token(ANN), NEW, SELF)
    assert (await opens(bench, PASSWORD), await opens(bench, NEW)) == (False, True)
    assert await live_sessions(bench) == set()
    assert len(await bench.execute("SELECT FROM revocations")) == 3
    (user,) = await bench.execute("SELECT * FROM users")
    assert (user["security_version"], user["password_changed_at"]) == (1, bench.clock())
    assert user["email_verified_at"] == bench.clock(), "the mail has reached its owner"
    assert bench.ended.reported == [(RevocationReason.PASSWORD_RESET, 3)]


async def test_a_reset_unlocks_an_account_locked_by_failed_logins(bench: RecoveryBench) -> None:
    await register(bench)
    for _ in range(MAX_FAILURES):
        bench.clock.advance(minutes=16)
        assert not await opens(bench, THIRD)
    bench.clock.advance(minutes=16)
    assert not await opens(bench, PASSWORD)
    await bench.password_reset.reset(await bench.reset_token(ANN), NEW, SELF)
    assert await opens(bench, NEW), "and without waiting"


async def test_a_reset_is_recorded_after_its_revocations(bench: RecoveryBench) -> None:
    account = await register(bench)
    await create_session(bench, account.id)
    await bench.password_reset.reset(await bench.reset_token(ANN), NEW, SELF)
    assert await kinds(bench) == [
        "account_registered",
        "password_reset_requested",
        "session_revoked",
        "password_reset",
    ]
    events = await bench.execute("SELECT user_id, actor, host(address) AS address, request_id FROM audit_events")
    assert {tuple(event.values()) for event in events} == {(account.id, "self", "192.0.2.1", "request-1")}


async def test_of_forty_parallel_uses_of_a_reset_token_one_succeeds(bench: RecoveryBench) -> None:
    await register(bench)
    token = await bench.reset_token(ANN)
    passwords = [f"{NEW} {number}" for number in range(40)]
    results = await outcomes(*(bench.password_reset.reset(token, each, SELF) for each in passwords))
    assert results.count(None) == 1
    assert all(isinstance(result, InvalidOneTimeTokenError) for result in results if result is not None)
    assert await opens(bench, passwords[results.index(None)])


async def test_of_forty_parallel_uses_of_a_verification_token_one_succeeds(bench: RecoveryBench) -> None:
    await register(bench)
    await bench.email_verification.resend(ANN, SELF)
    token = await bench.token()
    results = await outcomes(*(bench.email_verification.verify(token, SELF) for _ in range(40)))
    assert results.count(None) == 1
    assert all(isinstance(result, InvalidOneTimeTokenError) for result in results if result is not None)
    assert (await kinds(bench)).count("email_verified") == 1


async def test_parallel_resets_and_deletions_never_deadlock(bench: RecoveryBench) -> None:
    for number in range(8):
        email = f"race{number}@example.com"
        account = await register(bench, email)
        await create_session(bench, account.id)
        token = await bench.reset_token(email)
        results = await outcomes(
            bench.password_reset.reset(token, NEW, SELF),
            bench.self_service.delete_account(account, uuid4(), PASSWORD, SELF),
            bench.self_service.change_password(account, uuid4(), PASSWORD, THIRD, SELF),
            bench.outbox.deliver_due(),
        )
        unexpected = (InvalidCredentialsError, InvalidOneTimeTokenError)
        assert all(result is None or isinstance(result, (int, *unexpected)) for result in results), results
        assert None in results[:3]
        assert await live_sessions(bench) == set()


@pytest.mark.parametrize("is_valid", [True, False], ids=["valid", "expired"])
@pytest.mark.parametrize("purpose", TokenPurpose)
async def test_a_one_time_token_expires_to_the_second(
    bench: RecoveryBench, purpose: TokenPurpose, *, is_valid: bool
) -> None:
    await register(bench)
    outcome = nullcontext() if is_valid else pytest.raises(InvalidOneTimeTokenError)
    if purpose is TokenPurpose.VERIFY_EMAIL:
        await bench.email_verification.resend(ANN, SELF)
        token = await bench.token()
        bench.clock.advance(hours=24, seconds=-is_valid)
        with outcome:
            await bench.email_verification.verify(token, SELF)
    else:
        token = await bench.reset_token(ANN)
        bench.clock.advance(minutes=60, seconds=-is_valid)
        with outcome:
            await bench.password_reset.reset(token, NEW, SELF)


async def test_a_reset_token_made_during_a_password_change_is_invalid(bench: RecoveryBench) -> None:
    """The request waits for the change, or the change waits for it and then invalidates the token."""
    account = await register(bench)
    async with bench.database.transaction() as connection:
        await connection.execute("UPDATE users SET security_version = security_version + 1")
        making = OutboxStore(bench.database).add_token(account.id, RESET_TOKEN, bench.clock())
        token = asyncio.create_task(making)
        await wait_until_blocked(bench.database, token)
    assert await token


async def test_a_disabled_account_is_not_reset(bench: RecoveryBench) -> None:
    await register(bench)
    token = await bench.reset_token(ANN)
    await bench.execute("UPDATE users SET disabled_at = now()")
    with pytest.raises(InvalidOneTimeTokenError):
        await bench.password_reset.reset(token, NEW, SELF)
    bench.clock.advance(seconds=61)
    await bench.password_reset.request(ANN, SELF)
    assert await bench.outbox.deliver_due() == 0


@pytest.mark.parametrize(
    "change",
    [
        "users SET disabled_at = now()",
        "one_time_tokens SET expires_at = created_at",
        "one_time_tokens SET purpose = 'verify_email'",
    ],
)
async def test_a_reset_token_is_verified_again_when_it_is_used(bench: RecoveryBench, change: str) -> None:
    """The token was valid when it was looked up, and becomes invalid while the new password is hashed."""
    await register(bench)
    token_hash = hash_of(await bench.reset_token(ANN), TokenPurpose.RESET_PASSWORD)
    assert token_hash is not None
    await bench.execute(f"UPDATE {change}")
    assert await bench.password_reset.store.reset_password(token_hash, CHEAPER_HASH, bench.clock(), SELF) is None
    assert await bench.execute("SELECT FROM users WHERE security_version > 0") == []


async def test_an_account_that_has_changed_since_the_password_was_checked_is_not_deleted(
    bench: RecoveryBench,
) -> None:
    account = await register(bench)
    await bench.password_reset.reset(await bench.reset_token(ANN), NEW, SELF)
    assert await bench.self_service.store.delete_account(account.id, 0, bench.clock(), SELF) is None
    assert await bench.execute("SELECT FROM users") != []


async def test_a_malformed_reset_costs_no_hash_and_a_valid_one_costs_one(bench: RecoveryBench) -> None:
    await register(bench)
    token = await bench.reset_token(ANN)
    computed = bench.metrics.argon2_computations
    before = computed._value.get()
    for invalid in ("", "gpw_" + "a" * 43, "gpv_" + "a" * 43):
        with pytest.raises(InvalidOneTimeTokenError):
            await bench.password_reset.reset(invalid, NEW, SELF)
    assert computed._value.get() == before
    await bench.password_reset.reset(token, NEW, SELF)
    assert computed._value.get() == before + 1


async def test_a_weak_password_is_rejected_and_the_token_stays_valid(bench: RecoveryBench) -> None:
    account = await register(bench)
    token = await bench.reset_token(ANN)
    with pytest.raises(InvalidFieldsError, match="password"):
        await bench.password_reset.reset(token, "short", SELF)
    with pytest.raises(InvalidFieldsError, match="new_password"):
        await bench.self_service.change_password(account, uuid4(), PASSWORD, "short", SELF)
    await bench.password_reset.reset(token, NEW, SELF)


async def test_a_password_change_keeps_the_current_session(bench: RecoveryBench) -> None:
    account = await register(bench)
    present, *_ = [await create_session(bench, account.id) for _ in range(3)]
    await bench.self_service.change_password(account, present, PASSWORD, NEW, SELF)
    assert await live_sessions(bench) == {present}
    assert (await opens(bench, PASSWORD), await opens(bench, NEW)) == (False, True)
    assert (await bench.execute("SELECT security_version FROM users"))[0][0] == 1
    assert bench.ended.reported == [(RevocationReason.PASSWORD_CHANGED, 2)]
    assert await kinds(bench) == [
        "account_registered",
        "session_revoked",
        "session_revoked",
        "password_changed",
    ]


async def test_without_the_password_nothing_is_changed_or_deleted(bench: RecoveryBench) -> None:
    account = await register(bench)
    session = await create_session(bench, account.id)
    with pytest.raises(InvalidCredentialsError):
        await bench.self_service.change_password(account, session, NEW, THIRD, SELF)
    with pytest.raises(InvalidCredentialsError):
        await bench.self_service.delete_account(account, session, NEW, SELF)
    assert await live_sessions(bench) == {session}
    assert await opens(bench, PASSWORD)


async def test_of_two_changes_at_once_one_succeeds(bench: RecoveryBench) -> None:
    account = await register(bench)
    results = await outcomes(
        *(bench.self_service.change_password(account, uuid4(), PASSWORD, f"{NEW} {n}", SELF) for n in range(8))
    )
    assert results.count(None) == 1
    assert all(isinstance(result, InvalidCredentialsError) for result in results if result is not None)


async def test_a_hash_upgrade_does_not_stop_a_password_change(bench: RecoveryBench) -> None:
    account = await register(bench)
    await bench.execute("UPDATE users SET password_hash = $1", CHEAPER_HASH)
    await bench.self_service.change_password(account, uuid4(), "walrus walrus walrus", NEW, SELF)
    assert await opens(bench, NEW)


async def test_the_user_is_notified_of_every_new_password(bench: RecoveryBench) -> None:
    account = await register(bench)
    await bench.self_service.change_password(account, uuid4(), PASSWORD, NEW, SELF)
    await bench.outbox.deliver_due()
    bench.clock.advance(minutes=1)
    await bench.password_reset.reset(await bench.reset_token(ANN), THIRD, SELF)
    await bench.outbox.deliver_due()
    assert [message["Subject"] for message in bench.sent.messages] == [
        "Your Gatepass password was changed",
        "Reset your Gatepass password",
        "Your Gatepass password was changed",
    ]


async def test_a_deleted_account_leaves_only_ids_in_the_trail(bench: RecoveryBench) -> None:
    account = await register(bench)
    for _ in range(2):
        await create_session(bench, account.id)
    await bench.password_reset.request(ANN, SELF)
    await bench.self_service.delete_account(account, uuid4(), PASSWORD, SELF)
    for table in ("users", "sessions", "outbox", "one_time_tokens"):
        assert await bench.execute(f"SELECT FROM {table}") == [], table
    assert len(await bench.execute("SELECT FROM revocations")) == 2
    assert (await kinds(bench))[-3:] == ["session_revoked", "session_revoked", "account_deleted"]
    trail = await bench.execute("SELECT event::text AS line FROM audit_events event")
    assert not [event for event in trail if ANN in event["line"]]
    assert not await opens(bench, PASSWORD)
    assert (await register(bench)).id != account.id


async def test_no_mail_is_sent_for_an_account_being_deleted(bench: RecoveryBench) -> None:
    account = await register(bench)
    async with bench.database.transaction() as connection:
        await connection.execute("DELETE FROM users")
        requests = [
            asyncio.ensure_future(bench.password_reset.request(ANN, SELF)),
            asyncio.ensure_future(bench.email_verification.resend(ANN, SELF)),
            asyncio.ensure_future(OutboxStore(bench.database).add_token(account.id, RESET_TOKEN, bench.clock())),
        ]
        await wait_until_blocked(bench.database, *requests)
    assert [await request for request in requests] == [None, None, False]
    assert await bench.execute("SELECT FROM outbox") == []


async def test_no_login_succeeds_before_the_email_is_verified(database_url: str) -> None:
    async with recovery_bench(database_url, verified_only=True) as bench:
        await bench.verified_registration.register(ANN, PASSWORD, SELF)
        assert not await opens(bench, PASSWORD)
        await bench.email_verification.verify(await bench.token(), SELF)
        assert await opens(bench, PASSWORD)
        assert await kinds(bench) == ["account_registered", "email_verified"]


async def test_registering_another_persons_email_gives_no_access(database_url: str) -> None:
    """The other person's password must not become valid when the email's user registers."""
    async with recovery_bench(database_url, verified_only=True) as bench:
        await bench.verified_registration.register(ANN, "the password of another person", SELF)
        await bench.outbox.deliver_due()
        await bench.verified_registration.register(ANN, PASSWORD, SELF)
        token = await bench.token()
        assert [message["Subject"] for message in bench.sent.messages] == [
            "Confirm your email address for Gatepass",
            "You already have a Gatepass account",
        ]
        await bench.password_reset.reset(token, NEW, SELF)
        assert await opens(bench, NEW)
        assert not await opens(bench, "the password of another person")


async def test_forty_registrations_at_once_create_one_account(database_url: str) -> None:
    async with recovery_bench(database_url, verified_only=True) as bench:
        results = await outcomes(*(bench.verified_registration.register(ANN, PASSWORD, SELF) for _ in range(40)))
        assert results == [None] * 40
        assert len(await bench.execute("SELECT FROM users")) == 1
        assert (await bench.execute("SELECT template FROM outbox ORDER BY id"))[0]["template"] == "verify_email"
        assert len(await bench.execute("SELECT FROM outbox")) <= 2
        with pytest.raises(EmailTakenError):
            await register(bench)


async def test_a_verified_email_is_not_verified_again(bench: RecoveryBench) -> None:
    await register(bench)
    await bench.email_verification.resend(ANN, SELF)
    await bench.email_verification.verify(await bench.token(), SELF)
    bench.clock.advance(seconds=61)
    await bench.email_verification.resend(ANN, SELF)
    assert await bench.outbox.deliver_due() == 0
