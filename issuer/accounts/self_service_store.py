"""SQL statements for the changes of users to their own accounts."""

from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from issuer.accounts.models import Account
from issuer.audit.events import AuditEvent, AuditEventKind, RevocationReason
from issuer.audit.store import record
from issuer.context import RequestContext
from issuer.db.pool import Connection, Database
from issuer.db.queries import load_queries
from issuer.mail.limits import QUIET, WAITS, RecipientKeys
from issuer.mail.templates import TEMPLATES, Template
from issuer.sessions.store import revoke_sessions_of_user
from issuer.tokens.one_time_token import TokenPurpose

_SQL: Final = load_queries(Path(__file__).with_suffix(".sql"))


async def delete_tokens(connection: Connection, user_id: UUID) -> None:
    """Delete every one-time token of an account, in the transaction that changed its state."""
    await connection.execute(_SQL["delete-tokens"], user_id)


async def queue_notice(
    connection: Connection, user_id: UUID, email_key: str, recipients: RecipientKeys | None, now: datetime
) -> None:
    """Queue the mail about a changed password, in the transaction that changed it, unless `recipients` is None."""
    if recipients is not None:
        limit = recipients.for_notice(email_key)
        await connection.execute(_SQL["queue-notice"], user_id, Template.PASSWORD_CHANGED, now, limit, WAITS, QUIET)


async def delete_locked_account(connection: Connection, user_id: UUID, now: datetime, context: RequestContext) -> int:
    """Delete an account whose row is locked FOR UPDATE; return how many sessions this revokes."""
    revoked = await revoke_sessions_of_user(connection, user_id, now, RevocationReason.ACCOUNT_DELETED, context)
    await connection.execute(_SQL["delete-account"], user_id)
    await record(
        connection, AuditEvent(AuditEventKind.ACCOUNT_DELETED, context, user_id, detail={"sessions": revoked})
    )
    return revoked


class SelfServiceStore:
    """Email verification, password reset and change, deletion: each method is one transaction.

    Args:
        recipients: names the counters of mails; None if no mail server is configured, so that no mail is queued.
    """

    def __init__(self, database: Database, recipients: RecipientKeys | None) -> None:
        self._database = database
        self._recipients = recipients

    async def find_account(self, account_id: UUID, session_id: UUID, now: datetime) -> Account | None:
        """Return the account, unless it is disabled or its session `session_id` is expired or revoked."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-account"], account_id, session_id, now)
        return None if row is None else Account(**row)

    async def request_mail(
        self,
        email_key: str,
        template: Template,
        kind: AuditEventKind | None,
        now: datetime,
        context: RequestContext,
    ) -> None:
        """Queue a mail with a token if an account needs it and the recipient's limit allows it.

        If the mail is queued, record an event of `kind`, unless that is None.
        """
        purpose = TEMPLATES[template].purpose
        if self._recipients is None or purpose is None:
            return
        async with self._database.connection() as connection:
            await connection.execute(
                _SQL["request-mail"],
                email_key,
                template,
                now,
                self._recipients.for_purpose(purpose, email_key),
                WAITS,
                QUIET,
                kind,
                *context.audit_columns,
            )

    async def find_reset_account(self, token_hash: bytes, now: datetime) -> Account | None:
        """Return the account of a valid token to reset a password; the token stays valid."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_SQL["find-reset-account"], token_hash, now)
        return None if row is None else Account(**row)

    async def verify_email(self, token_hash: bytes, now: datetime, context: RequestContext) -> bool:
        """Consume the token and mark the email as verified; return False if the token is invalid."""
        async with self._database.connection() as connection:
            verified = await connection.fetchval(_SQL["verify-email"], token_hash, now, *context.audit_columns)
        return verified is not None

    async def reset_password(
        self, token_hash: bytes, password_hash: str, now: datetime, context: RequestContext
    ) -> tuple[str, int] | None:
        """Consume the token, set the password, revoke every session and reset the limit of mails with tokens.

        Returns the account's email_key and the number of revoked sessions; None if the token is invalid.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL["reset-password"], token_hash, now, password_hash)
            if row is None:
                return None
            user_id, email_key = row["id"], row["email_key"]
            if self._recipients is not None:
                limit = self._recipients.for_purpose(TokenPurpose.RESET_PASSWORD, email_key)
                await connection.execute(_SQL["reset-limit"], limit)
            await queue_notice(connection, user_id, email_key, self._recipients, now)
            revoked = await revoke_sessions_of_user(
                connection, user_id, now, RevocationReason.PASSWORD_RESET, context
            )
            await record(connection, AuditEvent(AuditEventKind.PASSWORD_RESET, context, user_id))
        return email_key, revoked

    async def change_password(
        self,
        user_id: UUID,
        security_version: int,
        password_hash: str,
        current: UUID,
        now: datetime,
        context: RequestContext,
    ) -> int | None:
        """Set the password if the account still has `security_version`, and revoke every session except `current`.

        Returns the number of revoked sessions; None if the account has changed.
        """
        async with self._database.transaction() as connection:
            email_key = await connection.fetchval(
                _SQL["change-password"], user_id, security_version, now, password_hash
            )
            if email_key is None:
                return None
            await delete_tokens(connection, user_id)
            await queue_notice(connection, user_id, email_key, self._recipients, now)
            revoked = await revoke_sessions_of_user(
                connection, user_id, now, RevocationReason.PASSWORD_CHANGED, context, current
            )
            await record(connection, AuditEvent(AuditEventKind.PASSWORD_CHANGED, context, user_id, current))
        return revoked

    async def delete_account(
        self, account_id: UUID, security_version: int, now: datetime, context: RequestContext
    ) -> int | None:
        """Delete the account; return how many sessions this revokes, or None if the account has changed."""
        async with self._database.transaction() as connection:
            if await connection.fetchval(_SQL["lock-account"], account_id, security_version) is None:
                return None
            return await delete_locked_account(connection, account_id, now, context)
