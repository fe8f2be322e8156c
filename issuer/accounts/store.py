"""Accounts in PostgreSQL: registration, login, import."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - a store

from issuer.accounts.models import Account, ImportedAccount
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.db.queries import load_queries
from issuer.mail.limits import QUIET, WAITS, RecipientKeys
from issuer.sessions.models import StoredAccount
from issuer.throttling.login_limits import DELAYS, MAX_FAILURES
from issuer.throttling.models import Counter, CounterIncrement, LoginAttempt, LoginHistory
from issuer.tokens.additional_claims import read_claims_column
from issuer.tokens.one_time_token import TokenPurpose

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


class AccountStore:
    """Registration, login and import of accounts: each method is one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_account(
        self, account: Account, email_key: str, password_hash: str, context: RequestContext
    ) -> bool:
        """Insert an account with its event; return False if the email is taken."""
        async with self._database.connection() as connection:
            inserted = await connection.fetchval(
                _SQL["insert-account"],
                account.id,
                account.email,
                email_key,
                password_hash,
                account.created_at,
                *context.audit_columns,
            )
        return inserted is not None

    async def insert_unverified(
        self, account: Account, email_key: str, password_hash: str, recipients: RecipientKeys, context: RequestContext
    ) -> bool:
        """Insert an account and queue a mail to verify its email.

        If the email is taken, queue a mail to the user of that account instead, and return False.
        """
        async with self._database.connection() as connection:
            inserted = await connection.fetchval(
                _SQL["insert-unverified"],
                account.id,
                account.email,
                email_key,
                password_hash,
                account.created_at,
                recipients.for_purpose(TokenPurpose.VERIFY_EMAIL, email_key),
                recipients.for_purpose(TokenPurpose.RESET_PASSWORD, email_key),
                WAITS,
                QUIET,
                *context.audit_columns,
            )
        return inserted is not None

    async def get_login_state(
        self, attempt: LoginAttempt, now: datetime
    ) -> tuple[LoginHistory, StoredAccount | None]:
        """Return the counters and the account of an attempt; the same work whether or not there is an account."""
        shown = attempt.shown
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["get-login-state"],
                list(attempt.keys.values()),
                attempt.email_key,
                shown and shown.id,
                shown and shown.generation,
                now,
            )
        found = {row["key"]: Counter(row["count"], row["last_at"], row["expires_at"]) for row in rows}
        counters = {kind: found[key] for kind, key in attempt.keys.items() if key in found}
        history = LoginHistory(rows[0]["shows_own_session"], counters)
        return history, None if rows[0]["id"] is None else _stored_account(rows[0])

    async def count_failed_login(
        self,
        email_key: str,
        increments: Sequence[CounterIncrement],
        now: datetime,
        context: RequestContext,
        *,
        may_disable: bool,
    ) -> bool:
        """Count and record a failure, and disable the password after the last one.

        Returns False, and changes nothing, if other attempts used up a limit meanwhile. Does the same work whether or
        not there is an account.
        """
        async with self._database.connection() as connection:
            counted = await connection.fetchval(
                _SQL["count-failed-login"],
                email_key,
                [increment.key for increment in increments],
                [increment.free for increment in increments],
                [increment.expires_at for increment in increments],
                DELAYS,
                now,
                MAX_FAILURES if may_disable else None,
                *context.audit_columns,
            )
        return counted is not None

    async def replace_password_hash(self, account_id: UUID, old: str, new: str) -> None:
        """Replace the hash `old` by `new`; do nothing if it has changed."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["replace-password-hash"], account_id, old, new)

    async def import_accounts(self, accounts: Collection[ImportedAccount], context: RequestContext) -> set[str]:
        """Insert the accounts whose email is free, with their events, in one statement; return their email keys."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["import-accounts"],
                [account.id for account in accounts],
                [account.email.given for account in accounts],
                [account.email.key for account in accounts],
                [account.password_hash for account in accounts],
                [account.created_at for account in accounts],
                [account.email_verified_at for account in accounts],
                [account.scope for account in accounts],
                [json.dumps(account.roles) for account in accounts],
                context.actor,
                [json.dumps(dict(account.claims)) for account in accounts],
            )
        return {row["email_key"] for row in rows}

    async def find_registered(self, email_keys: Iterable[str]) -> set[str]:
        """Return those of `email_keys` that have an account."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["find-registered"], list(email_keys))
        return {row["email_key"] for row in rows}


def _stored_account(row: asyncpg.Record) -> StoredAccount:
    return StoredAccount(
        row["id"],
        row["password_hash"],
        row["disabled_at"],
        row["email_verified_at"],
        row["password_disabled_at"],
        row["security_version"],
        row["scope"],
        tuple(row["roles"]),
        read_claims_column(row["claims"]),
    )
