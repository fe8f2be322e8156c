"""Statements of users on their own accounts."""

from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.accounts.models import Account, MailRequest, PasswordChange, ResetLimits, TokenAccount
from issuer.audit.events import AuditEvent, AuditEventKind, RevocationReason
from issuer.audit.store import record
from issuer.context import RequestContext
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries
from issuer.mail.limits import QUIET, WAITS
from issuer.mail.templates import Template
from issuer.sessions.store import revoke_sessions_of_user
from issuer.tokens.one_time_token import TokenPurpose

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


async def delete_tokens(connection: Connection, user_id: UUID) -> None:
    """Delete every one-time token of an account, in the transaction that changed its state."""
    await connection.execute(_SQL["delete-tokens"], user_id)


async def delete_locked_account(connection: Connection, user_id: UUID, now: datetime, context: RequestContext) -> int:
    """Delete an account whose row is locked FOR UPDATE, and revoke its sessions; return how many."""
    revoked = await revoke_sessions_of_user(connection, user_id, now, RevocationReason.ACCOUNT_DELETED, context)
    await connection.execute(_SQL["delete-account"], user_id)
    await record(
        connection, AuditEvent(AuditEventKind.ACCOUNT_DELETED, context, user_id, detail={"sessions": revoked})
    )
    return revoked


class SelfServiceStore:
    """Email verification, password reset and change, deletion: each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_account(self, account_id: UUID, session_id: UUID, now: datetime) -> Account | None:
        """Return the account, unless it is disabled or this session of it is expired or revoked."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-account"], account_id, session_id, now)
        return None if row is None else Account(**row)

    async def request_mail(self, email_key: str, request: MailRequest, context: RequestContext) -> None:
        """Queue the mail if there is an account that qualifies and the recipient's limit allows it."""
        async with self._database.connection() as connection:
            await connection.execute(
                _SQL["request-mail"],
                email_key,
                request.template,
                request.purpose,
                request.now,
                request.limit,
                WAITS,
                QUIET,
                request.kind,
                context.actor,
                context.ip_address,
                context.request_id,
            )

    async def find_token_account(
        self, token_hash: bytes, purpose: TokenPurpose, now: datetime
    ) -> TokenAccount | None:
        """Return the account of a valid token; the token stays valid."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-token-account"], token_hash, purpose, now)
        return None if row is None else TokenAccount(**row)

    async def verify_email(self, token_hash: bytes, now: datetime, context: RequestContext) -> bool:
        """Consume the token and mark the email as verified; return False if the token is invalid."""
        async with self._database.connection() as connection:
            verified = await connection.fetchval(
                _SQL["verify-email"], token_hash, now, context.actor, context.ip_address, context.request_id
            )
        return verified is not None

    async def reset_password(
        self,
        token_hash: bytes,
        password_hash: str,
        now: datetime,
        context: RequestContext,
        limits: ResetLimits | None,
    ) -> tuple[str, int] | None:
        """Consume the token, set the password and revoke every session.

        Returns the account's email_key and the number of sessions; None if the token is invalid.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["reset-password"], token_hash, now, password_hash)
            if row is None:
                return None
            if limits is not None:
                await connection.execute(_SQL["reset-limit"], limits.requests)
                await queue_notice(connection, row["id"], limits.notices, now)
            revoked = await revoke_sessions_of_user(
                connection, row["id"], now, RevocationReason.PASSWORD_RESET, context
            )
            await record(connection, AuditEvent(AuditEventKind.PASSWORD_RESET, context, row["id"]))
        return row["email_key"], revoked

    async def change_password(
        self, change: PasswordChange, now: datetime, context: RequestContext, notice_limit: bytes | None
    ) -> int | None:
        """Set the password and revoke every other session; return how many, or None if the account has changed."""
        user_id, current = change.account_id, change.session_id
        async with self._database.transaction() as connection:
            changed = await connection.fetchval(
                _SQL["change-password"], user_id, change.security_version, now, change.password_hash
            )
            if changed is None:
                return None
            await delete_tokens(connection, user_id)
            if notice_limit is not None:
                await queue_notice(connection, user_id, notice_limit, now)
            revoked = await revoke_sessions_of_user(
                connection, user_id, now, RevocationReason.PASSWORD_CHANGED, context, current
            )
            await record(connection, AuditEvent(AuditEventKind.PASSWORD_CHANGED, context, user_id, current))
        return revoked

    async def delete_account(
        self, account_id: UUID, security_version: int, now: datetime, context: RequestContext
    ) -> int | None:
        """Revoke every session and delete the account; return how many, or None if the account has changed."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["lock-account"], account_id, security_version) is None:
                return None
            return await delete_locked_account(connection, account_id, now, context)


async def queue_notice(connection: Connection, user_id: UUID, limit: bytes, now: datetime) -> None:
    """Queue the mail about a changed password, in the transaction that changed it."""
    await connection.execute(_SQL["queue-notice"], user_id, Template.PASSWORD_CHANGED, now, limit, WAITS, QUIET)
