"""Operators manage accounts and sessions: the commands and their effects on users."""

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg  # noqa: TID251 - tests look at the database from outside
import pytest

from issuer.accounts.administration import Administration
from issuer.accounts.administration_store import AdministrationStore
from issuer.db.pool import Database
from issuer.errors import AccountNotFoundError, InvalidFieldsError, SessionNotFoundError
from issuer.tokens.size import TokenBudget
from tests.support.accounts import add_account, add_sessions
from tests.support.issuer_process import PASSWORD, IssuerProcess, issuer_command
from tests.support.postgres import execute, with_database

T = TypeVar("T")
Act = Callable[..., Awaitable[object]]
BUDGET = TokenBudget("https://issuer.example", "gatepass", 1100)


def administer(url: str, use: Callable[[Administration], Awaitable[T]]) -> T:
    return with_database(
        url,
        lambda database: use(Administration(AdministrationStore(database), lambda: datetime.now(UTC), BUDGET)),
    )


def acting(act: Act, *arguments: object) -> Callable[[Administration], Awaitable[object]]:
    return lambda use: act(use, *arguments)


@pytest.fixture(scope="module")
def url(issuer: IssuerProcess) -> str:
    return issuer.database_url


def events(url: str, account: UUID) -> list[tuple[str, str | None]]:
    """Return kind and reason of each event of an account, in order."""
    rows = execute(
        url, "SELECT kind, detail ->> 'reason' FROM audit_events WHERE user_id = $1 ORDER BY at, position", account
    )
    return [(row[0], row[1]) for row in rows]


def revoked_sessions(url: str, account: UUID) -> int:
    return len(
        execute(
            url,
            "SELECT FROM audit_events e JOIN revocations r ON r.status_list_id = 0 "
            "WHERE e.user_id = $1 AND e.kind = 'session_revoked' AND r.status_idx IN "
            "(SELECT status_idx FROM sessions WHERE id = e.session_id)",
            account,
        )
    )


@pytest.mark.parametrize(
    ("act", "reason", "last_event"),
    [
        (Administration.disable, "account_disabled", "account_disabled"),
        (Administration.revoke_sessions, "revoked_by_operator", "session_revoked"),
    ],
)
def test_revoking_an_accounts_sessions_also_stops_logins_in_progress(
    url: str, act: Act, reason: str, last_event: str
) -> None:
    account, other = add_account(url), add_account(url)
    add_sessions(url, account, 3)
    add_sessions(url, other, 1)
    administer(url, acting(act, account))
    assert events(url, account)[:3] == [("session_revoked", reason)] * 3
    assert events(url, account)[-1][0] == last_event
    assert revoked_sessions(url, account) == 3
    assert execute(url, "SELECT security_version FROM users WHERE id = $1", account)[0][0] == 1
    assert events(url, other) == []


def test_deleting_an_account_leaves_only_revocations_and_audit_events(url: str) -> None:
    account = add_account(url)
    add_sessions(url, account, 2)
    revoked = execute(url, "SELECT count(*) FROM revocations")[0][0]
    administer(url, lambda use: use.delete(account))
    assert events(url, account) == [("session_revoked", "account_deleted")] * 2 + [("account_deleted", None)]
    assert execute(url, "SELECT count(*) FROM revocations")[0][0] == revoked + 2
    assert execute(url, "SELECT FROM sessions WHERE user_id = $1", account) == []
    with pytest.raises(AccountNotFoundError):
        administer(url, lambda use: use.account(str(account)))


def test_a_deletion_locks_the_account_before_the_audit_trail(url: str) -> None:
    """A mail request locks the account, then waits for the audit trail: the opposite order would deadlock."""
    account = add_account(url)
    add_sessions(url, account, 1)

    async def meet() -> None:
        locker, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
        database = Database(url, 1)
        try:
            async with locker.transaction():
                await locker.execute("SELECT FROM users WHERE id = $1 FOR KEY SHARE", account)
                tables = AdministrationStore(database)
                deletion = asyncio.create_task(tables.delete_account(account, datetime.now(UTC)))
                while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    assert not deletion.done()
                chains = await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE classid = 1734439780")
            assert await deletion == 1
            assert chains == 0
        finally:
            await database.close()
            await locker.close()
            await watcher.close()

    asyncio.run(meet())


def test_disabling_and_enabling_twice_are_one_event_each(url: str) -> None:
    account = add_account(url)
    for act in (Administration.disable, Administration.enable):
        for _ in range(2):
            administer(url, acting(act, account))
    assert [kind for kind, _ in events(url, account)] == ["account_disabled", "account_enabled"]


def test_a_session_is_revoked_once(url: str) -> None:
    account = add_account(url)
    add_sessions(url, account, 2)
    session = administer(url, lambda use: use.sessions(account))[0]
    for _ in range(2):
        assert administer(url, lambda use: use.revoke_session(session.id)).revocation_reason == "revoked_by_operator"
    assert events(url, account) == [("session_revoked", "revoked_by_operator")]
    assert revoked_sessions(url, account) == 1
    assert [each.revocation_reason for each in administer(url, lambda use: use.sessions(account))].count(None) == 1


def test_accounts_are_listed_page_by_page(url: str) -> None:
    made = {add_account(url) for _ in range(5)}

    async def pages(use: Administration) -> list[UUID]:
        found: list[UUID] = []
        while page := await use.accounts(found[-1] if found else None, 2, disabled_only=False):
            found += [account.id for account in page]
        return found

    listed = administer(url, pages)
    assert listed == sorted(set(listed))
    assert made <= set(listed)


def test_scope_and_roles_are_what_a_token_can_carry(url: str) -> None:
    account = add_account(url)
    updated = administer(url, lambda use: use.update(account, "read write", ["a", "b"]))
    assert (updated.scope, updated.roles) == ("read write", ("a", "b"))
    updated = administer(url, lambda use: use.update(account, None, []))
    assert (updated.scope, updated.roles) == ("read write", ())
    rejected: list[tuple[str | None, list[str] | None]] = [
        ("a  b", None),
        ('a"', None),
        ("x" * 200, None),
        (None, ["a,b"]),
        (None, ["é"]),
        (None, ["x" * 100, "y" * 100]),
    ]
    for scope, roles in rejected:
        with pytest.raises(InvalidFieldsError):
            administer(url, acting(Administration.update, account, scope, roles))
    assert [kind for kind, _ in events(url, account)] == ["account_updated"] * 2


def test_any_granted_roles_and_scopes_fit_into_a_token(issuer: IssuerProcess) -> None:
    account = run(issuer, "users", "create", "granted@example.com", password=PASSWORD)
    budget = TokenBudget(issuer.url, "gatepass")
    roles = [f"{number:03}" + "r" * 96 for number in range(8)]
    scope = next("s" * length for length in range(800, 0, -1) if budget.account_fault("s" * length, roles) is None)
    update = ["users", "update", account["id"]]
    run(issuer, *update, "--scope", scope, *(part for role in roles for part in ("--role", role)))
    excess = command(issuer, *update, "--scope", f"{scope}ss")
    assert (excess.returncode, excess.stdout, excess.stderr.count("\n")) == (1, "", 1)
    assert "instead of 2048 at most: shorten it by" in excess.stderr
    token = issuer.login("granted@example.com").json()["access_token"]
    assert 2000 < len(token) <= 2048
    assert issuer.request("GET", "/me", token).status_code == 200
    nothing = command(issuer, "users", "update", account["id"])
    assert (nothing.returncode, nothing.stderr) == (1, "nothing to change: give --scope, --role or --claim\n")


def test_an_unknown_account_or_session_is_reported(url: str) -> None:
    unknown = uuid4()
    for act in (Administration.disable, Administration.enable, Administration.delete, Administration.revoke_sessions):
        with pytest.raises(AccountNotFoundError):
            administer(url, acting(act, unknown))
    with pytest.raises(SessionNotFoundError):
        administer(url, lambda use: use.revoke_session(unknown))
    assert events(url, unknown) == []


def test_an_operator_creates_disables_and_deletes_an_account(issuer: IssuerProcess) -> None:
    """Run every command once, on one account, while the issuer serves."""
    account = run(issuer, "users", "create", "day@example.com", password=PASSWORD)
    token = issuer.login("day@example.com").json()["access_token"]
    assert run(issuer, "users", "update", account["id"], "--scope", "a b", "--role", "x")["roles"] == ["x"]
    assert run(issuer, "users", "disable", account["id"])["state"] == "disabled"
    assert run(issuer, "users", "list", "--disabled", "--limit", "1")["state"] == "disabled"
    assert issuer.login("day@example.com").status_code == 401
    assert issuer.request("GET", "/me", token).status_code == 401
    assert run(issuer, "users", "enable", account["id"])["state"] == "enabled"
    assert issuer.login("day@example.com").status_code == 200
    assert run(issuer, "users", "show", "DAY@example.com")["id"] == account["id"]
    run(issuer, "users", "revoke-sessions", account["id"])
    rejected = issuer_command("users", "delete", account["id"], DATABASE_URL=issuer.database_url)
    assert (rejected.returncode, rejected.stderr) == (1, "this cannot be undone: pass --yes to confirm\n")
    assert run(issuer, "users", "delete", account["id"], "--yes")["state"] == "deleted"
    assert issuer.login("day@example.com").status_code == 401


def lock(issuer: IssuerProcess, account: str, email: str) -> None:
    """Fail until the password is disabled. Sets the counter of the account to 99 first, to save time."""
    assert issuer.login(email, "wrong and wrong again").status_code == 401
    counters = "UPDATE rate_limit_counters SET count = 99, last_at = now() - interval '1 hour'"
    execute(issuer.database_url, counters + " WHERE expires_at = (SELECT max(expires_at) FROM rate_limit_counters)")
    assert issuer.login(email, "wrong and wrong again").status_code == 401
    assert issuer.login(email).status_code in (401, 429)
    assert run(issuer, "users", "show", account)["password_disabled_at"] is not None


def test_unlocking_an_account_enables_its_password(issuer: IssuerProcess) -> None:
    account = run(issuer, "users", "create", "locked@example.com", password=PASSWORD)["id"]
    lock(issuer, account, "locked@example.com")
    assert run(issuer, "users", "unlock", account) == {"id": account, "password": "enabled"}
    execute(issuer.database_url, "UPDATE rate_limit_counters SET last_at = now() - interval '15 minutes'")
    # Were the counter of the account not cleared, one more failure would disable the password again.
    assert issuer.login("locked@example.com", "wrong and wrong again").status_code == 401
    assert issuer.login("locked@example.com").status_code == 200
    assert run(issuer, "users", "unlock", account)["password"] == "was not disabled"
    assert [kind for kind, _ in events(issuer.database_url, UUID(account))].count("password_enabled") == 1


def test_an_operator_sets_a_password(issuer: IssuerProcess) -> None:
    account = run(issuer, "users", "create", "forgetful@example.com", password=PASSWORD)["id"]
    refresh_token = issuer.login("forgetful@example.com").json()["refresh_token"]
    lock(issuer, account, "forgetful@example.com")
    rejected = command(issuer, "users", "set-password", account, password="short")
    assert (rejected.returncode, rejected.stdout) == (1, "")
    assert "password: must have at least" in rejected.stderr
    done = run(issuer, "users", "set-password", account, password="green tea at seven o'clock")
    assert done == {"id": account, "password": "set", "revoked_sessions": 1}
    execute(issuer.database_url, "UPDATE rate_limit_counters SET last_at = now() - interval '15 minutes'")
    assert issuer.login("forgetful@example.com", "green tea at seven o'clock").status_code == 200
    assert issuer.login("forgetful@example.com").status_code == 401
    refreshed = issuer.refresh(refresh_token)
    assert (refreshed.status_code, refreshed.json()["error"]) == (400, "invalid_grant")
    assert ("session_revoked", "password_set") in events(issuer.database_url, UUID(account))


def test_without_the_keys_of_the_issuers_nothing_is_unlocked(issuer: IssuerProcess, tmp_path: Path) -> None:
    account = run(issuer, "users", "create", "stays@example.com", password=PASSWORD)["id"]
    rejected = issuer_command("users", "unlock", account, DATABASE_URL=issuer.database_url, KEYS_DIR=str(tmp_path))
    assert (rejected.returncode, rejected.stdout) == (1, "")
    assert "set ISSUER_KEYS_DIR" in rejected.stderr


def test_sessions_are_printed_without_control_characters(issuer: IssuerProcess) -> None:
    account = add_account(issuer.database_url)
    add_sessions(issuer.database_url, account, 1)
    listed = command(issuer, "sessions", "list", "--user", str(account)).stdout
    assert "Browser\ufffd[2J" in listed
    assert listed.split()[1] == "expired"
    assert run(issuer, "sessions", "revoke", listed.split()[0])["state"] == "revoked"


def test_an_account_created_by_an_operator_follows_the_rules_of_registration(issuer: IssuerProcess) -> None:
    rejected = command(issuer, "users", "create", "nonsense", password="short")
    assert (rejected.returncode, rejected.stdout, rejected.stderr.count("\n")) == (1, "", 1)
    assert "email: must be an email address" in rejected.stderr
    assert "password: must have at least" in rejected.stderr
    rejected = command(issuer, "users", "create", "unsayable@example.com", password=f"{PASSWORD}\0")
    assert (rejected.returncode, rejected.stderr) == (1, "the password must be in UTF-8 and without U+0000\n")


def test_an_invited_account_has_no_usable_password(issuer: IssuerProcess) -> None:
    run(issuer, "users", "create", "invited@example.com", "--invite")
    for password in ("-", "!", PASSWORD):
        assert issuer.login("invited@example.com", password).status_code == 401
    taken = command(issuer, "users", "create", "invited@example.com", "--invite")
    assert (taken.returncode, taken.stderr) == (1, "Email address already registered\n")


def test_a_byte_order_mark_is_no_part_of_a_password(issuer: IssuerProcess) -> None:
    run(issuer, "users", "create", "windows@example.com", password=f"\N{ZERO WIDTH NO-BREAK SPACE}{PASSWORD}")
    assert issuer.login("windows@example.com", PASSWORD).status_code == 200


def command(issuer: IssuerProcess, *arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
    return issuer_command(
        *arguments,
        stdin=f"{password}\n",
        DATABASE_URL=issuer.database_url,
        URL=issuer.url,
        KEYS_DIR=str(issuer.keys_dir),
    )


def run(issuer: IssuerProcess, *arguments: str, password: str = "") -> dict[str, Any]:
    """Run a command that must succeed and print one object; return it."""
    done = command(issuer, *arguments, "--json", password=password)
    assert (done.returncode, done.stderr) == (0, "")
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed
