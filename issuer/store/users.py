"""Accounts in PostgreSQL: rows in, frozen values out."""

from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.accounts import Account, Credentials
from issuer.audit import Origin
from issuer.store.database import Database
from issuer.store.queries import load_queries

_SQL: Final = load_queries(Path(__file__).with_name("users.sql"))


class Users:
    """The `users` table. Implements `issuer.accounts.AccountStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def require(self) -> None:
        """Fail at once if PostgreSQL is known to be away."""
        self._database.require()

    async def insert_account(self, account: Account, email_key: str, password_hash: str, origin: Origin) -> bool:
        """Add it with its event, or say False if the key is taken."""
        async with self._database.connection() as connection:
            inserted = await connection.fetchval(
                _SQL["insert-account"],
                account.id,
                account.email,
                email_key,
                password_hash,
                account.created_at,
                origin.actor,
                origin.address,
                origin.request_id,
            )
        return inserted is not None

    async def find_credentials(self, email_key: str) -> Credentials | None:
        """The credentials of the account with this key."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-credentials"], email_key)
        return None if row is None else Credentials(**row)

    async def find_account(self, account_id: UUID) -> Account | None:
        """The account, unless it is disabled."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-account"], account_id)
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
