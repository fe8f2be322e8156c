"""What becomes of tokens, passwords and accounts, on a real PostgreSQL, at moments that the test states."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from issuer.accounts.models import Account
from issuer.accounts.registration import VerificationSent
from issuer.audit.events import RevocationReason
from issuer.db.pool import Database
from issuer.errors import EmailTakenError, InvalidCredentialsError, InvalidFieldsError, InvalidOneTimeTokenError
from issuer.mail.store import OutboxStore
from issuer.throttling.login_limits import MAX_FAILURES
from issuer.tokens.one_time_token import TokenPurpose
from tests.support.postgres import execute
from tests.support.recovery import PASSWORD, SELF, House, in_house

ANN = "ann@example.com"
NEW = "another long and lonely walk"
THIRD = "a third long and lonely walk"
WAITING_FOR_A_ROW = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
# Of "walrus walrus walrus", at 8 KiB and one pass.
CHEAPER_HASH = "$argon2id$v=19$m=8,t=1,p=1$HnwRC06buitboCiHFdxMYg$bLQxQqhEA+Lmtx/5a54NFwDlGKRU+mcdyZ9rTkTQLlo"


async def rows(url: str, statement: str, *arguments: object) -> list[Any]:
    return await asyncio.to_thread(execute, url, statement, *arguments)


async def kinds(url: str) -> list[str]:
    """But for refused logins: here they only find out which password opens the account."""
    told = await rows(url, "SELECT kind FROM audit_events WHERE kind <> 'login_refused' ORDER BY at")
    return [row["kind"] for row in told]


async def begin_session(url: str, user_id: UUID) -> UUID:
    session_id = uuid4()
    await rows(
        url,
        "INSERT INTO sessions (id, user_id, client_id, scope, created_at, rotated_at, idle_expires_at, expires_at,"
        " status_list_id, status_idx) SELECT $1, $2, 'first-party', 'profile', now(), now(), later, later, 1,"
        " (SELECT count(*) FROM sessions) FROM (SELECT now() + interval '1 day' AS later)",
        session_id,
        user_id,
    )
    return session_id


async def live_sessions(url: str) -> set[UUID]:
    return {row["id"] for row in await rows(url, "SELECT id FROM sessions WHERE ended_at IS NULL")}


async def opens(at: House, password: str, email: str = ANN) -> bool:
    try:
        await at.authenticator.authenticate(email, password, SELF)
    except InvalidCredentialsError:
        return False
    return True


async def register(at: House, email: str = ANN) -> Account:
    return await at.register(email, PASSWORD, SELF)


async def outcomes(*attempts: Any) -> list[Any]:
    return list(await asyncio.gather(*attempts, return_exceptions=True))


def test_a_reset_sets_the_password_and_revokes_every_session(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        for _ in range(3):
            await begin_session(database_url, account.id)
        await at.password_reset.reset(await at.reset_token(ANN), NEW, SELF)
        assert (await opens(at, PASSWORD), await opens(at, NEW)) == (False, True)
        assert await live_sessions(database_url) == set()
        assert len(await rows(database_url, "SELECT FROM revocations")) == 3
        (user,) = await rows(database_url, "SELECT * FROM users")
        assert (user["security_version"], user["password_changed_at"]) == (1, at.clock())
        assert user["email_verified_at"] == at.clock(), "the mail has reached its owner"
        assert at.ended.told == [(RevocationReason.PASSWORD_RESET, 3)]

    in_house(database_url, act)


def test_a_reset_unlocks_an_account_locked_by_failed_logins(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        for _ in range(MAX_FAILURES):
            at.clock.advance(minutes=16)
            assert not await opens(at, THIRD)
        at.clock.advance(minutes=16)
        assert not await opens(at, PASSWORD)
        await at.password_reset.reset(await at.reset_token(ANN), NEW, SELF)
        assert await opens(at, NEW), "and without waiting"

    in_house(database_url, act)


def test_a_reset_is_recorded_after_its_revocations(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        await begin_session(database_url, account.id)
        await at.password_reset.reset(await at.reset_token(ANN), NEW, SELF)
        assert await kinds(database_url) == [
            "account_registered",
            "password_reset_requested",
            "session_ended",
            "password_reset",
        ]
        events = await rows(
            database_url, "SELECT user_id, actor, host(address) AS address, request_id FROM audit_events"
        )
        assert {tuple(event.values()) for event in events} == {(account.id, "self", "192.0.2.1", "request-1")}

    in_house(database_url, act)


def test_of_forty_uses_of_one_reset_token_at_once_one_succeeds(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        token = await at.reset_token(ANN)
        passwords = [f"{NEW} {number}" for number in range(40)]
        results = await outcomes(*(at.password_reset.reset(token, each, SELF) for each in passwords))
        assert results.count(None) == 1
        assert all(isinstance(result, InvalidOneTimeTokenError) for result in results if result is not None)
        assert await opens(at, passwords[results.index(None)])

    in_house(database_url, act)


def test_of_forty_uses_of_one_verification_token_at_once_one_succeeds(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        await at.email_verification.resend(ANN, SELF)
        token = await at.token()
        results = await outcomes(*(at.email_verification.verify(token, SELF) for _ in range(40)))
        assert results.count(None) == 1
        assert all(isinstance(result, InvalidOneTimeTokenError) for result in results if result is not None)
        assert (await kinds(database_url)).count("email_verified") == 1

    in_house(database_url, act)


def test_parallel_resets_and_deletions_never_deadlock(database_url: str) -> None:
    async def act(at: House) -> None:
        for number in range(8):
            email = f"race{number}@example.com"
            account = await register(at, email)
            await begin_session(database_url, account.id)
            token = await at.reset_token(email)
            results = await outcomes(
                at.password_reset.reset(token, NEW, SELF),
                at.self_service.delete_account(account, uuid4(), PASSWORD, SELF),
                at.self_service.change_password(account, uuid4(), PASSWORD, THIRD, SELF),
                at.outbox.deliver_due(),
            )
            unexpected = (InvalidCredentialsError, InvalidOneTimeTokenError)
            assert all(result is None or isinstance(result, (int, *unexpected)) for result in results), results
            assert None in results[:3]
            assert await live_sessions(database_url) == set()

    in_house(database_url, act)


@pytest.mark.parametrize("purpose", TokenPurpose)
def test_a_one_time_token_expires(database_url: str, purpose: TokenPurpose) -> None:
    async def act(at: House) -> None:
        await register(at)
        if purpose is TokenPurpose.VERIFY_EMAIL:
            await at.email_verification.resend(ANN, SELF)
            token = await at.token()
            at.clock.advance(hours=24)
            with pytest.raises(InvalidOneTimeTokenError):
                await at.email_verification.verify(token, SELF)
        else:
            token = await at.reset_token(ANN)
            at.clock.advance(minutes=60)
            with pytest.raises(InvalidOneTimeTokenError):
                await at.password_reset.reset(token, NEW, SELF)

    in_house(database_url, act)


def test_a_one_time_token_serves_one_purpose(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        await at.email_verification.resend(ANN, SELF)
        verification = await at.token()
        reset = await at.reset_token(ANN)
        for wrong in (verification, verification.replace("gpv_", "gpw_"), "gpw_", ""):
            with pytest.raises(InvalidOneTimeTokenError):
                await at.password_reset.reset(wrong, NEW, SELF)
        with pytest.raises(InvalidOneTimeTokenError):
            await at.email_verification.verify(reset, SELF)
        await at.email_verification.verify(verification, SELF)
        await at.password_reset.reset(reset, NEW, SELF)

    in_house(database_url, act)


def test_a_password_change_invalidates_reset_tokens(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        token = await at.reset_token(ANN)
        await at.self_service.change_password(account, uuid4(), PASSWORD, NEW, SELF)
        with pytest.raises(InvalidOneTimeTokenError):
            await at.password_reset.reset(token, THIRD, SELF)
        assert await opens(at, NEW)

    in_house(database_url, act)


def test_a_reset_token_made_during_a_password_change_is_invalid(database_url: str) -> None:
    """It waits for the change, or the change waits for it and then sees it."""

    async def act(at: House) -> None:
        account = await register(at)
        database, later = Database(database_url, 2), at.clock() + timedelta(minutes=60)
        await database.open()
        making = OutboxStore(database).add_token(
            bytes(32), account.id, TokenPurpose.RESET_PASSWORD, at.clock(), later
        )
        async with database.transaction() as connection:
            await connection.execute("UPDATE users SET security_version = security_version + 1")
            token = asyncio.create_task(making)
            while not await rows(database_url, WAITING_FOR_A_ROW):
                assert not token.done()
        assert await token
        await database.close()

    in_house(database_url, act)


def test_a_disabled_account_is_not_reset(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        token = await at.reset_token(ANN)
        await rows(database_url, "UPDATE users SET disabled_at = now()")
        with pytest.raises(InvalidOneTimeTokenError):
            await at.password_reset.reset(token, NEW, SELF)
        at.clock.advance(seconds=61)
        await at.password_reset.request(ANN, SELF)
        assert await at.outbox.deliver_due() == 0

    in_house(database_url, act)


def test_a_malformed_reset_costs_no_hash_and_a_valid_one_costs_one(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        token = await at.reset_token(ANN)
        computed = at.metrics.argon2_computations
        before = computed._value.get()
        for rubbish in ("", "gpw_" + "a" * 43, "gpv_" + "a" * 43):
            with pytest.raises(InvalidOneTimeTokenError):
                await at.password_reset.reset(rubbish, NEW, SELF)
        assert computed._value.get() == before
        await at.password_reset.reset(token, NEW, SELF)
        assert computed._value.get() == before + 1

    in_house(database_url, act)


@pytest.mark.parametrize("poor", ["short", "a" * 300, ANN, "aaaaaaaaaaaaaaaaaaaa"])
def test_a_weak_password_is_rejected_and_the_token_stays_valid(database_url: str, poor: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        token = await at.reset_token(ANN)
        with pytest.raises(InvalidFieldsError, match="password"):
            await at.password_reset.reset(token, poor, SELF)
        with pytest.raises(InvalidFieldsError, match="new_password"):
            await at.self_service.change_password(account, uuid4(), PASSWORD, poor, SELF)
        await at.password_reset.reset(token, NEW, SELF)

    in_house(database_url, act)


def test_a_password_change_keeps_the_current_session(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        present, *_ = [await begin_session(database_url, account.id) for _ in range(3)]
        await at.self_service.change_password(account, present, PASSWORD, NEW, SELF)
        assert await live_sessions(database_url) == {present}
        assert (await opens(at, PASSWORD), await opens(at, NEW)) == (False, True)
        assert (await rows(database_url, "SELECT security_version FROM users"))[0][0] == 1
        assert at.ended.told == [(RevocationReason.PASSWORD_CHANGED, 2)]
        assert await kinds(database_url) == [
            "account_registered",
            "session_ended",
            "session_ended",
            "password_changed",
        ]

    in_house(database_url, act)


def test_without_the_password_nothing_is_changed_or_deleted(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        session = await begin_session(database_url, account.id)
        with pytest.raises(InvalidCredentialsError):
            await at.self_service.change_password(account, session, NEW, THIRD, SELF)
        with pytest.raises(InvalidCredentialsError):
            await at.self_service.delete_account(account, session, NEW, SELF)
        assert await live_sessions(database_url) == {session}
        assert await opens(at, PASSWORD)

    in_house(database_url, act)


def test_of_two_changes_at_once_one_succeeds(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        results = await outcomes(
            *(at.self_service.change_password(account, uuid4(), PASSWORD, f"{NEW} {n}", SELF) for n in range(8))
        )
        assert results.count(None) == 1
        assert all(isinstance(result, InvalidCredentialsError) for result in results if result is not None)

    in_house(database_url, act)


def test_a_hash_upgrade_does_not_stop_a_password_change(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        await rows(database_url, "UPDATE users SET password_hash = $1", CHEAPER_HASH)
        await at.self_service.change_password(account, uuid4(), "walrus walrus walrus", NEW, SELF)
        assert await opens(at, NEW)

    in_house(database_url, act)


def test_the_user_is_notified_of_every_new_password(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        await at.self_service.change_password(account, uuid4(), PASSWORD, NEW, SELF)
        await at.outbox.deliver_due()
        at.clock.advance(minutes=1)
        await at.password_reset.reset(await at.reset_token(ANN), THIRD, SELF)
        await at.outbox.deliver_due()
        assert [message["Subject"] for message in at.sent.messages] == [
            "Your Gatepass password was changed",
            "Reset your Gatepass password",
            "Your Gatepass password was changed",
        ]

    in_house(database_url, act)


def test_a_deleted_account_leaves_only_ids_in_the_trail(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        for _ in range(2):
            await begin_session(database_url, account.id)
        await at.password_reset.request(ANN, SELF)
        await at.self_service.delete_account(account, uuid4(), PASSWORD, SELF)
        for table in ("users", "sessions", "outbox", "one_time_tokens"):
            assert await rows(database_url, f"SELECT FROM {table}") == [], table
        assert len(await rows(database_url, "SELECT FROM revocations")) == 2
        assert (await kinds(database_url))[-3:] == ["session_ended", "session_ended", "account_deleted"]
        trail = await rows(database_url, "SELECT event::text AS line FROM audit_events event")
        assert not [event for event in trail if ANN in event["line"]]
        assert not await opens(at, PASSWORD)
        assert (await register(at)).id != account.id

    in_house(database_url, act)


def test_no_mail_is_sent_for_an_account_being_deleted(database_url: str) -> None:
    async def act(at: House) -> None:
        account = await register(at)
        database, later = Database(database_url, 3), at.clock() + timedelta(minutes=60)
        await database.open()
        asked = [
            at.password_reset.request(ANN, SELF),
            at.email_verification.resend(ANN, SELF),
            OutboxStore(database).add_token(bytes(32), account.id, TokenPurpose.RESET_PASSWORD, at.clock(), later),
        ]
        async with database.transaction() as connection:
            await connection.execute("DELETE FROM users")
            answers = asyncio.gather(*asked)
            while len(await rows(database_url, WAITING_FOR_A_ROW)) < len(asked):
                assert not answers.done()
        assert await answers == [None, None, False]
        assert await rows(database_url, "SELECT FROM outbox") == []
        await database.close()

    in_house(database_url, act)


def test_no_login_succeeds_before_the_email_is_verified(database_url: str) -> None:
    async def act(at: House) -> None:
        await at.verified_registration.register(ANN, PASSWORD, SELF)
        assert not await opens(at, PASSWORD)
        await at.email_verification.verify(await at.token(), SELF)
        assert await opens(at, PASSWORD)
        assert await kinds(database_url) == ["account_registered", "email_verified"]

    in_house(database_url, act, verified_only=True)


def test_registering_another_persons_email_gives_no_access(database_url: str) -> None:
    """The stranger's password must not become good by the owner's own registration."""

    async def act(at: House) -> None:
        await at.verified_registration.register(ANN, "the password of a stranger", SELF)
        await at.outbox.deliver_due()
        await at.verified_registration.register(ANN, PASSWORD, SELF)
        token = await at.token()
        assert [message["Subject"] for message in at.sent.messages] == [
            "Confirm your email address for Gatepass",
            "You already have a Gatepass account",
        ]
        await at.password_reset.reset(token, NEW, SELF)
        assert await opens(at, NEW)
        assert not await opens(at, "the password of a stranger")

    in_house(database_url, act, verified_only=True)


def test_forty_registrations_at_once_create_one_account(database_url: str) -> None:
    async def act(at: House) -> None:
        results = await outcomes(*(at.verified_registration.register(ANN, PASSWORD, SELF) for _ in range(40)))
        assert results == [VerificationSent()] * 40
        assert len(await rows(database_url, "SELECT FROM users")) == 1
        assert (await rows(database_url, "SELECT template FROM outbox ORDER BY id"))[0]["template"] == "verify_email"
        assert len(await rows(database_url, "SELECT FROM outbox")) <= 2
        with pytest.raises(EmailTakenError):
            await register(at)

    in_house(database_url, act, verified_only=True)


def test_a_verified_email_is_not_verified_again(database_url: str) -> None:
    async def act(at: House) -> None:
        await register(at)
        await at.email_verification.resend(ANN, SELF)
        await at.email_verification.verify(await at.token(), SELF)
        at.clock.advance(seconds=61)
        await at.email_verification.resend(ANN, SELF)
        assert await at.outbox.deliver_due() == 0

    in_house(database_url, act)
