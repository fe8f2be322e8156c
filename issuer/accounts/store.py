"""Accounts in PostgreSQL: rows in, frozen values out."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - a store

from issuer.accounts.bulk_import import ImportedAccount
from issuer.accounts.login import Account, NewAccount
from issuer.context import RequestContext
from issuer.db.pool import Database
from issuer.db.queries import load_queries
from issuer.sessions.models import StoredAccount
from issuer.throttling.login_limits import DELAYS, MAX_FAILURES, Counter, LoginAttempt, LoginHistory
from issuer.throttling.throttle import CounterIncrement

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


class AccountStore:
    """The `users` table. Implements `issuer.accounts.login.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_account(self, registration: NewAccount, context: RequestContext) -> bool:
        """Add it with its event, or say False if the key is taken."""
        account = registration.account
        async with self._database.connection() as connection:
            inserted = await connection.fetchval(
                _SQL["insert-account"],
                account.id,
                account.email,
                registration.email_key,
                registration.password_hash,
                account.created_at,
                context.actor,
                context.ip_address,
                context.request_id,
            )
        return inserted is not None

    async def get_login_state(
        self, attempt: LoginAttempt, now: datetime
    ) -> tuple[LoginHistory, StoredAccount | None]:
        """Return what the login is judged by, before the hash and after it."""
        shown = attempt.shown
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["find-login"],
                list(attempt.keys.values()),
                attempt.email_key,
                shown and shown.id,
                shown and shown.generation,
                now,
            )
        found = {row["key"]: Counter(row["failures"], row["failed_at"], row["expires_at"]) for row in rows}
        counters = {kind: found[key] for kind, key in attempt.keys.items() if key in found}
        history = LoginHistory(rows[0]["shows_own_session"], counters)
        return history, None if rows[0]["id"] is None else _credentials(rows[0])

    async def find_account(self, account_id: UUID, session_id: UUID, now: datetime) -> Account | None:
        """The account, unless it is disabled or this session of it is not live."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-account"], account_id, session_id, now)
        return None if row is None else Account(**row)

    async def count_failed_login(
        self,
        email_key: str,
        increments: Sequence[CounterIncrement],
        now: datetime,
        context: RequestContext,
        *,
        may_disable: bool,
    ) -> bool:
        """Count and record it; False if others used up a limit meanwhile. The same work without an account."""
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
                context.actor,
                context.ip_address,
                context.request_id,
            )
        return counted is not None

    async def replace_password_hash(self, account_id: UUID, old: str, new: str) -> None:
        """Compare and swap."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["replace-password-hash"], account_id, old, new)

    async def import_accounts(self, accounts: Collection[ImportedAccount], context: RequestContext) -> set[str]:
        """Add those whose key is free, each with its event, all or none; the keys that were."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["import-accounts"],
                [account.id for account in accounts],
                [account.address.given for account in accounts],
                [account.address.key for account in accounts],
                [account.password_hash for account in accounts],
                [account.created_at for account in accounts],
                [account.email_verified_at for account in accounts],
                [account.scope for account in accounts],
                [json.dumps(account.roles) for account in accounts],
                context.actor,
            )
        return {row["email_key"] for row in rows}

    async def find_taken(self, email_keys: Iterable[str]) -> set[str]:
        """Which of these keys have an account."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["find-taken"], list(email_keys))
        return {row["email_key"] for row in rows}


def _credentials(row: asyncpg.Record) -> StoredAccount:
    return StoredAccount(
        row["id"],
        row["password_hash"],
        row["disabled_at"],
        row["email_verified_at"],
        row["password_disabled_at"],
        row["security_version"],
        row["scope"],
        tuple(row["roles"]),
    )
