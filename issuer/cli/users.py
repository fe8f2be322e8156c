"""`users`: the accounts of users."""

import argparse
import getpass
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import uuid4

from issuer.accounts.administration import Administration
from issuer.accounts.administration_store import AdministrationStore
from issuer.accounts.models import AccountRecord
from issuer.accounts.password_administration import PasswordAdministration
from issuer.accounts.registration import RegistrationService
from issuer.accounts.store import AccountStore
from issuer.cli.output import (
    EXAMPLE_ID,
    Commands,
    Run,
    account_id,
    add_claims,
    add_command,
    add_subject,
    limit,
    read_claims,
    show,
    with_database,
)
from issuer.cli.user_import import add_import
from issuer.context import OPERATOR
from issuer.db.pool import Database
from issuer.errors import CommandError
from issuer.keys.store import load_key_set
from issuer.mail.limits import RecipientKeys
from issuer.passwords.hash_queue import PasswordHashQueue
from issuer.passwords.hasher import ARGON2_COSTS, PasswordHasher
from issuer.passwords.policy import PasswordPolicy
from issuer.settings import IssuerSettings
from issuer.telemetry.metrics import Metrics
from issuer.throttling.store import RateLimitStore
from issuer.throttling.throttle import Throttle

T = TypeVar("T")

_PAGE: Final = 100


def add(commands: Commands) -> None:
    """Register the commands."""
    users = add_subject(commands, "users", "accounts")
    listing = add_command(users, "list", "list accounts in the order of their ids", _list, "--disabled --limit 20")
    listing.add_argument("--disabled", action="store_true", help="only disabled accounts")
    listing.add_argument("--limit", type=limit, default=_PAGE, help=f"maximum number of accounts, default {_PAGE}")
    listing.add_argument("--after", type=account_id, metavar="ID", help="continue after this account")
    showing = add_command(users, "show", "show an account", _show, "ada@example.com")
    showing.add_argument("account", metavar="ID|EMAIL", help="id or email of the account")
    create = add_command(
        users,
        "create",
        "create an account; the password is read from standard input",
        _create,
        "ada@example.com < password.txt",
    )
    create.add_argument("email", metavar="EMAIL", help="email of the new account")
    create.add_argument(
        "--invite", action="store_true", help="create without a password; the user sets one by password reset"
    )
    update = _add_for_one(
        users,
        "update",
        "change scope, roles and claims; tokens carry them from the next refresh on",
        _update,
        '--scope "orders:read orders:write" --role clerk',
    )
    update.add_argument("--scope", help="scopes, separated by spaces")
    update.add_argument("--role", action="append", metavar="ROLE", help="a role; repeat for more, '' for none")
    add_claims(update)
    _add_for_one(
        users,
        "set-password",
        "set a password, read from standard input, and revoke all sessions of the account",
        _set_password,
        "< password.txt",
    )
    _add_for_one(
        users,
        "unlock",
        "enable a password that too many failed logins disabled, and clear the login counters",
        _unlock,
    )
    _add_for_one(users, "disable", "disable an account and revoke its sessions", _disable)
    _add_for_one(users, "enable", "enable a disabled account", _enable)
    delete = _add_for_one(users, "delete", "delete an account; its audit events remain", _delete, "--yes")
    delete.add_argument("--yes", action="store_true", help="required, since this cannot be undone")
    add_import(users)
    _add_for_one(users, "revoke-sessions", "revoke all sessions of an account", _revoke_sessions)


def _add_for_one(
    users: Commands,
    name: str,
    summary: str,
    run: Run,
    more: str = "",
) -> argparse.ArgumentParser:
    """Register a command for one account; `more` follows the id in its example."""
    parser = add_command(users, name, summary, run, f"{EXAMPLE_ID} {more}".rstrip())
    parser.add_argument("account", type=account_id, metavar="ID", help="id of the account, see `users show EMAIL`")
    return parser


def _list(settings: IssuerSettings, options: argparse.Namespace) -> None:
    found = administer(
        settings, lambda use: use.accounts(options.after, options.limit, disabled_only=options.disabled)
    )
    show(options, map(_document, found))


def _show(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(administer(settings, lambda use: use.account(options.account)))])


def _create(settings: IssuerSettings, options: argparse.Namespace) -> None:
    password = secrets.token_urlsafe(32) if options.invite else _read_password()

    async def create(database: Database) -> AccountRecord:
        with _hasher(settings) as passwords:
            registration = RegistrationService(
                AccountStore(database), passwords, _policy(settings), Metrics(), _now, uuid4
            )
            await registration.register(options.email, password, OPERATOR)
        return await _administration(settings, database).account(options.email)

    show(options, [_document(with_database(settings, create))])


def _set_password(settings: IssuerSettings, options: argparse.Namespace) -> None:
    password = _read_password()
    revoked = _administer_passwords(settings, lambda use: use.set_password(options.account, password))
    show(options, [{"id": options.account, "password": "set", "revoked_sessions": revoked}])


def _unlock(settings: IssuerSettings, options: argparse.Namespace) -> None:
    enabled = _administer_passwords(settings, lambda use: use.unlock(options.account))
    show(options, [{"id": options.account, "password": "enabled" if enabled else "was not disabled"}])


def _administer_passwords(settings: IssuerSettings, use: Callable[[PasswordAdministration], Awaitable[T]]) -> T:
    """Run `use` with the login counters. Their keys depend on the current MAC secret of the issuers.

    Raises:
        KeyStoreError: the key directory cannot be read.
        CommandError: the key directory has no keys.
    """
    mac_secrets = load_key_set(settings.keys_dir, settings.passphrase()).mac_secrets
    if not mac_secrets:
        raise CommandError(
            f"there are no keys in {settings.keys_dir}: set ISSUER_KEYS_DIR to the key directory of the issuers"
        )

    async def run(database: Database) -> T:
        throttle = Throttle(
            RateLimitStore(database),
            lambda: mac_secrets[0],
            settings.login_failures_per_ip,
            settings.requests_per_ip,
            Metrics(),
            _now,
        )
        recipients = RecipientKeys(lambda: mac_secrets[0]) if settings.mail_url.get_secret_value() else None
        with _hasher(settings) as passwords:
            store = AdministrationStore(database)
            return await use(PasswordAdministration(store, passwords, _policy(settings), throttle, recipients, _now))

    return with_database(settings, run)


@contextmanager
def _hasher(settings: IssuerSettings) -> Iterator[PasswordHasher]:
    queue = PasswordHashQueue(threads=1, wait_seconds=settings.password_hash_timeout_seconds)
    try:
        yield PasswordHasher(queue, Metrics(), ARGON2_COSTS[settings.argon2_memory_mib])
    finally:
        queue.close()


def _policy(settings: IssuerSettings) -> PasswordPolicy:
    return PasswordPolicy(settings.password_min_length, settings.service_names())


def _read_password() -> str:
    """Read a password from standard input: every process of the machine could read an argument.

    Raises:
        CommandError: no request can contain this password, so no login would succeed.
    """
    try:
        if sys.stdin.isatty():
            text = getpass.getpass("password: ")
        else:
            # Editors of Windows begin a file with a byte order mark, which no user would enter at the login.
            text = sys.stdin.readline().rstrip("\r\n").removeprefix("\ufeff")
        if b"\0" not in text.encode():
            return text
    except (UnicodeError, EOFError):
        pass
    raise CommandError("the password must be in UTF-8 and without U+0000")


def _update(settings: IssuerSettings, options: argparse.Namespace) -> None:
    claims = read_claims(settings, options)
    if options.scope is None and options.role is None and not claims:
        raise CommandError("nothing to change: give --scope, --role or --claim")
    roles = None if options.role is None else [role for role in options.role if role]
    updated = administer(settings, lambda use: use.update(options.account, options.scope, roles, claims))
    show(options, [_document(updated)])


def _disable(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(administer(settings, lambda use: use.disable(options.account)))])


def _enable(settings: IssuerSettings, options: argparse.Namespace) -> None:
    show(options, [_document(administer(settings, lambda use: use.enable(options.account)))])


def _delete(settings: IssuerSettings, options: argparse.Namespace) -> None:
    if not options.yes:
        raise CommandError("this cannot be undone: pass --yes to confirm")
    administer(settings, lambda use: use.delete(options.account))
    show(options, [{"id": options.account, "state": "deleted"}])


def _revoke_sessions(settings: IssuerSettings, options: argparse.Namespace) -> None:
    revoked = administer(settings, lambda use: use.revoke_sessions(options.account))
    show(options, [{"id": options.account, "revoked_sessions": revoked}])


def administer(settings: IssuerSettings, use: Callable[[Administration], Awaitable[T]]) -> T:
    """Run `use` with the use cases of operators.

    Raises:
        SettingsError: ISSUER_DATABASE_URL is missing.
        DatabaseUnavailableError: PostgreSQL is unreachable.
    """
    return with_database(settings, lambda database: use(_administration(settings, database)))


def _administration(settings: IssuerSettings, database: Database) -> Administration:
    return Administration(AdministrationStore(database), _now, settings.token_budget())


def _document(account: AccountRecord) -> Mapping[str, Any]:
    state = "disabled" if account.disabled_at else "enabled"
    return {"id": account.id, "state": state} | asdict(account)


def _now() -> datetime:
    return datetime.now(UTC)
