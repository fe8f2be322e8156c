"""Accounts in PostgreSQL: rows in, frozen values out."""

import json
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - issuer/store is that door

from issuer.account_import import ImportedAccount
from issuer.accounts import Account, Credentials, Registration
from issuer.audit import Origin
from issuer.store.database import Database
from issuer.store.queries import load_queries
from issuer.store.throttles import counts_of
from issuer.throttle import Claim, Standing

_SQL: Final = load_queries(Path(__file__).with_name("users.sql"))


class Users:
    """The `users` table. Implements `issuer.accounts.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_account(self, registration: Registration, origin: Origin) -> bool:
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
                origin.actor,
                origin.address,
                origin.request_id,
            )
        return inserted is not None

    async def find_login(self, claim: Claim, now: datetime) -> tuple[Standing, Credentials | None]:
        """What the login is judged by before the hash and after it."""
        first, last = claim.network or (None, None)
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                _SQL["find-login"], list(claim.keys.values()), now, claim.email_key, first, last, claim.session_id
            )
        standing = Standing(rows[0]["known"], counts_of(row for row in rows if row["key"] is not None))
        return standing, None if rows[0]["id"] is None else _credentials(rows[0])

    async def find_account(self, account_id: UUID, session_id: UUID, now: datetime) -> Account | None:
        """The account, unless it is disabled or this session of it is not live."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-account"], account_id, session_id, now)
        return None if row is None else Account(**row)

    async def record_refused_login(self, email_key: str, origin: Origin) -> None:
        """Write the event of a failed login; the same work whether there is such an account."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SQL["record-refused-login"], email_key, origin.actor, origin.address, origin.request_id
            )

    async def replace_password_hash(self, account_id: UUID, old: str, new: str) -> None:
        """Compare and swap."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["replace-password-hash"], account_id, old, new)

    async def disable_password(self, email_key: str, now: datetime, origin: Origin) -> None:
        """Let the account's password open nothing more."""
        async with self._database.connection() as connection:
            await connection.execute(_SQL["disable-password"], email_key, now, origin.address, origin.request_id)

    async def import_accounts(self, accounts: Collection[ImportedAccount], origin: Origin) -> set[str]:
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
                origin.actor,
            )
        return {row["email_key"] for row in rows}

    async def find_taken(self, email_keys: Iterable[str]) -> set[str]:
        """Which of these keys have an account."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["find-taken"], list(email_keys))
        return {row["email_key"] for row in rows}


def _credentials(row: asyncpg.Record) -> Credentials:
    return Credentials(
        row["id"],
        row["password_hash"],
        row["disabled_at"],
        row["email_verified_at"],
        row["password_disabled_at"],
        row["security_version"],
        row["scope"],
        tuple(row["roles"]),
    )
