"""Use cases of operators: accounts and sessions of any user.

The store handles races: no session from before a disabling, a deletion or a revocation is active after it, even if a
login or a refresh runs at the same time.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from issuer.accounts.administration_store import AdministrationStore
from issuer.accounts.models import AccountRecord, SessionRecord
from issuer.audit.events import AuditEvent, AuditEventKind
from issuer.context import OPERATOR
from issuer.email_address import InvalidEmailError, parse_email
from issuer.errors import AccountNotFoundError, FieldFault, InvalidFieldsError, SessionNotFoundError
from issuer.tokens.additional_claims import NO_CLAIMS, ClaimValue, changed_claims
from issuer.tokens.models import PublicClient
from issuer.tokens.size import TokenBudget
from shared.claims import ROLE, SCOPE

T = TypeVar("T")


class Administration:
    """The operator's use cases."""

    def __init__(self, store: AdministrationStore, now: Callable[[], datetime], budget: TokenBudget) -> None:
        self._store = store
        self._now = now
        self._budget = budget

    async def accounts(self, after: UUID | None, limit: int, *, disabled_only: bool) -> list[AccountRecord]:
        """Return a page of accounts in the order of ids: those after `after`."""
        return await self._store.list_accounts(after, limit, disabled_only=disabled_only)

    async def account(self, id_or_email: str) -> AccountRecord:
        """Return the account with this id or email.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        account_id: UUID | None = None
        email_key: str | None = None
        with suppress(ValueError):
            account_id = UUID(id_or_email)
        with suppress(InvalidEmailError):
            email_key = parse_email(id_or_email).key
        return existing(await self._store.find_record(account_id, email_key))

    async def update(
        self,
        account_id: UUID,
        scope: str | None,
        roles: Sequence[str] | None,
        claims: Mapping[str, ClaimValue | None] = NO_CLAIMS,
    ) -> AccountRecord:
        """Set scope, roles or additional claims. Issued tokens keep theirs; the next refresh returns the new ones.

        For scope and roles, None means no change. Only the claims in `claims`, which `ClaimTypes` has checked, are
        changed; the value None removes a claim.

        Raises:
            InvalidFieldsError: a value is malformed, or the values together do not fit into a token.
            AccountNotFoundError: there is no such account.
        """
        faults = []
        if not SCOPE.fullmatch(scope or ""):
            faults.append(FieldFault("scope", "must be scope tokens with single spaces between them"))
        if not all(map(ROLE.fullmatch, roles or ())):
            faults.append(FieldFault("roles", "must be visible ASCII without commas"))
        if faults:
            raise InvalidFieldsError(*faults)

        def change(account: AccountRecord, clients: Sequence[PublicClient]) -> AccountRecord:
            changed = replace(
                account,
                scope=account.scope if scope is None else scope,
                roles=account.roles if roles is None else tuple(roles),
                claims=changed_claims(account.claims, claims),
            )
            if fault := self._budget.account_fault(changed.scope, changed.roles, changed.claims, clients):
                raise InvalidFieldsError(FieldFault("scope", fault))
            return changed

        detail = {"scope": scope is not None, "roles": roles is not None, "claims": bool(claims)}
        event = AuditEvent(AuditEventKind.ACCOUNT_UPDATED, OPERATOR, account_id, detail=detail)
        return existing(await self._store.update_permissions(account_id, change, event))

    async def disable(self, account_id: UUID) -> AccountRecord:
        """Disable an account: revoke its sessions and reject its logins.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        await self._store.disable_account(account_id, self._now())
        return existing(await self._store.find_record(account_id))

    async def enable(self, account_id: UUID) -> AccountRecord:
        """Enable an account, so that its user can log in again.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        await self._store.enable_account(account_id)
        return existing(await self._store.find_record(account_id))

    async def delete(self, account_id: UUID) -> None:
        """Delete an account, except for its audit events.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        existing(await self._store.delete_account(account_id, self._now()))

    async def revoke_sessions(self, account_id: UUID) -> int:
        """Revoke all sessions of an account; return how many.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        return existing(await self._store.revoke_sessions(account_id, self._now()))

    async def sessions(self, account_id: UUID) -> list[SessionRecord]:
        """Return the sessions of an account; expired and revoked ones are included until they are deleted.

        Raises:
            AccountNotFoundError: there is no such account.
        """
        existing(await self._store.find_record(account_id))
        return await self._store.list_sessions(account_id)

    async def revoke_session(self, session_id: UUID) -> SessionRecord:
        """Revoke a session and its tokens.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        await self._store.revoke_session(session_id, self._now())
        found = await self._store.find_session(session_id)
        if found is None:
            raise SessionNotFoundError("there is no such session")
        return found


def existing(found: T | None) -> T:
    """Return what the store returned about an account.

    Raises:
        AccountNotFoundError: it is None.
    """
    if found is None:
        raise AccountNotFoundError("there is no such account")
    return found
