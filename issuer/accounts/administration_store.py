"""SQL statements for the commands of operators on accounts and sessions."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg  # noqa: TID251 - a store

from issuer.accounts.models import AccountRecord, SessionRecord
from issuer.accounts.self_service_store import delete_locked_account, delete_tokens, queue_notice
from issuer.audit.events import AuditEvent, AuditEventKind, RevocationReason
from issuer.audit.store import record
from issuer.context import OPERATOR
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries
from issuer.mail.limits import RecipientKeys
from issuer.sessions.store import revoke_session, revoke_sessions_of_user
from issuer.tokens.additional_claims import read_claims_column
from issuer.tokens.models import PublicClient

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


class AdministrationStore:
    """Administration of accounts and sessions: each method is one transaction, with its audit events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_accounts(self, after: UUID | None, limit: int, *, disabled_only: bool) -> list[AccountRecord]:
        """Return the accounts after the id `after`, in the order of ids."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-accounts"], after, disabled_only, limit)
        return [_account(row) for row in rows]

    async def find_record(self, account_id: UUID | None, email_key: str | None = None) -> AccountRecord | None:
        """Return the account of this id or this email."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-record"], account_id, email_key)
        return None if row is None else _account(row)

    async def update_permissions(
        self,
        account_id: UUID,
        change: Callable[[AccountRecord, list[PublicClient]], AccountRecord],
        event: AuditEvent,
    ) -> AccountRecord | None:
        """Apply `change` to scope, roles and claims while the row is locked; return None if there is no such account.

        `change` also gets the public clients, with which the user may log in.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["lock-account"], account_id)
            if row is None:
                return None
            changed = change(_account(row), await _public_clients(connection))
            await connection.execute(
                _SQL["update-permissions"], account_id, changed.scope, changed.roles, json.dumps(dict(changed.claims))
            )
            await record(connection, event)
        return changed

    async def list_public_clients(self) -> list[PublicClient]:
        """Return the clients with which users log in, disabled or not."""
        async with self._database.connection() as connection:
            return await _public_clients(connection)

    async def disable_account(self, account_id: UUID, now: datetime) -> None:
        """Disable an account that is enabled, and revoke its sessions.

        Two statements: the second sees sessions that were committed while the first waited for the account's row.
        """
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["disable-account"], account_id, now) is not None:
                await delete_tokens(connection, account_id)
                revoked = await revoke_sessions_of_user(
                    connection, account_id, now, RevocationReason.ACCOUNT_DISABLED, OPERATOR
                )
                await record(
                    connection,
                    AuditEvent(AuditEventKind.ACCOUNT_DISABLED, OPERATOR, account_id, detail={"sessions": revoked}),
                )

    async def enable_account(self, account_id: UUID) -> None:
        """Enable an account that is disabled. Sessions and logins from before the disabling stay rejected."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["enable-account"], account_id) is not None:
                await record(connection, AuditEvent(AuditEventKind.ACCOUNT_ENABLED, OPERATOR, account_id))

    async def set_password(
        self, account_id: UUID, password_hash: str, now: datetime, recipients: RecipientKeys | None
    ) -> int | None:
        """Set a password and revoke every session; return how many, or None if there is no such account.

        The account may be disabled. Without `recipients`, no mail about the new password is queued.
        """
        async with self._database.transaction() as connection:
            email_key = await connection.fetchval(_SQL["set-password"], account_id, now, password_hash)
            if email_key is None:
                return None
            await delete_tokens(connection, account_id)
            await queue_notice(connection, account_id, email_key, recipients, now)
            revoked = await revoke_sessions_of_user(
                connection, account_id, now, RevocationReason.PASSWORD_SET, OPERATOR
            )
            await record(
                connection,
                AuditEvent(AuditEventKind.PASSWORD_SET, OPERATOR, account_id, detail={"sessions": revoked}),
            )
        return revoked

    async def enable_password(self, account_id: UUID) -> bool:
        """Enable a password that too many failed logins disabled; return False if it was not disabled."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["enable-password"], account_id) is None:
                return False
            await record(connection, AuditEvent(AuditEventKind.PASSWORD_ENABLED, OPERATOR, account_id))
        return True

    async def delete_account(self, account_id: UUID, now: datetime) -> int | None:
        """Delete an account; return how many sessions this revokes, or None if there is no such account."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["lock-account"], account_id) is None:
                return None
            return await delete_locked_account(connection, account_id, now, OPERATOR)

    async def revoke_sessions(self, account_id: UUID, now: datetime) -> int | None:
        """Invalidate pending logins and revoke every session; return how many, or None if there is no account."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["invalidate-pending-logins"], account_id) is None:
                return None
            return await revoke_sessions_of_user(
                connection, account_id, now, RevocationReason.REVOKED_BY_OPERATOR, OPERATOR
            )

    async def list_sessions(self, account_id: UUID) -> list[SessionRecord]:
        """Return the sessions of an account, newest first."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_SQL["list-sessions"], account_id)
        return [SessionRecord(**row) for row in rows]

    async def revoke_session(self, session_id: UUID, now: datetime) -> None:
        """Revoke a session that is not revoked yet."""
        async with self._database.connection() as connection:
            await revoke_session(connection, session_id, None, now, RevocationReason.REVOKED_BY_OPERATOR, OPERATOR)

    async def find_session(self, session_id: UUID) -> SessionRecord | None:
        """Return the session of this id."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-session"], session_id)
        return None if row is None else SessionRecord(**row)


async def _public_clients(connection: Connection) -> list[PublicClient]:
    rows = await connection.fetch(_SQL["list-public-clients"])
    return [
        PublicClient(
            row["id"],
            tuple(row["audiences"]),
            frozenset(row["scope"].split()),
            claims=read_claims_column(row["claims"]),
        )
        for row in rows
    ]


def _account(row: asyncpg.Record) -> AccountRecord:
    return AccountRecord(**{**row, "roles": tuple(row["roles"]), "claims": read_claims_column(row["claims"])})
