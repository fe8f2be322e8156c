"""Authenticates OAuth clients, and authorizes the tokens that they request. No HTTP, no SQL, no clock of its own.

A client secret is 32 random bytes, so its SHA-256 is as safe to store as a slow hash, and failed authentications
cannot occupy the password hashers (ADR 0043).

An unknown client, a wrong secret, an invalid or used assertion and a disabled client give the same error, after the
same work: a lookup and a comparison. Only metrics and the audit trail have the reason.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog

from issuer.audit.events import AuditEvent, AuditEventKind
from issuer.context import RequestContext
from issuer.errors import InvalidClientError, InvalidScopeError, InvalidTargetError, UnauthorizedClientError
from issuer.oauth.client_assertion import (
    ClientKeysError,
    InvalidAssertionError,
    load_keys,
    read_assertion,
    verify_assertion,
)
from issuer.oauth.models import BasicCredentials, Client, ClientAssertion, ClientCredentials
from issuer.oauth.store import ClientStore
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.models import StatusListEntry
from issuer.telemetry.metrics import Metrics
from issuer.tokens.models import AccessTokenClaims, PublicClient
from shared.claims import StatusReference

_log = structlog.get_logger(__name__)

_NO_SECRET: Final = bytes(32)
"""Compared if the client has no secret hash. No known input has this SHA-256."""

FAILURES_RECORDED: Final = 300
"""Maximum number of audit events per minute and process. Events are never deleted, and failed authentications need no
credentials: without a limit, an attacker could fill the disk. Metrics count every failure."""


class AuthFailure(StrEnum):
    """Reasons of failed authentications: for metrics and the audit trail, never in the response."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    OTHER_METHOD = "other_method"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a label
    BAD_ASSERTION = "bad_assertion"
    USED_ASSERTION = "used_assertion"


class ClientAuthenticator:
    """The authentication of clients and the authorization of their tokens.

    Its methods raise UnavailableError if the database is unavailable.

    Args:
        status_lists: allocates the index that revokes the tokens of a client.
        urls: the accepted audiences of assertions (RFC 7523 §3 (3)).
    """

    def __init__(
        self,
        store: ClientStore,
        status_lists: StatusIndexAllocator,
        urls: frozenset[str],
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._status_lists = status_lists
        self._urls = urls
        self._metrics = metrics
        self._now = now
        self._minute = self._failures = 0

    async def authenticate(self, credentials: ClientCredentials, context: RequestContext) -> Client:
        """Return the authenticated client.

        Raises:
            InvalidClientError: authentication failed, for any reason.
        """
        if isinstance(credentials, BasicCredentials):
            client, failure = await self._check_secret(credentials)
        else:
            client, failure = await self._check_assertion(credentials)
        if client is None or failure is not None:
            await self._reject(client, failure or AuthFailure.UNKNOWN, context)
            raise InvalidClientError
        self._metrics.client_authentications.labels("accepted").inc()
        return client

    async def authorize(self, client: Client, scope: str | None, audience: str | None) -> AccessTokenClaims:
        """Return the claims of a token for `client` (RFC 6749 §4.4).

        If none is requested, the scope is all that the client may have, and the audience is its first one.

        Raises:
            InvalidScopeError: the scope exceeds that of the client.
            InvalidTargetError: the audience is not one of the client.
            InvalidClientError: the client was changed after it authenticated.
        """
        granted = client.scope if scope is None else _narrowed(client.scope, scope)
        if audience is not None and audience not in client.audiences:
            raise InvalidTargetError
        status = client.status or await self._first_status(client)
        return AccessTokenClaims(
            subject=client.id,
            session_id=None,
            auth_time=None,
            client_id=client.id,
            scope=granted,
            audience=audience or client.audiences[0],
            status=self._status_lists.reference(status),
            additional=client.claims,
        )

    async def public_client(self, client_id: str) -> PublicClient:
        """Return the public client that a login names.

        Raises:
            InvalidClientError: there is no such client, or it is disabled.
            UnauthorizedClientError: it is not public, so users cannot log in with it.
        """
        client = await self.find(client_id)
        if client is None or client.disabled_at is not None:
            raise InvalidClientError
        if not client.is_public:
            raise UnauthorizedClientError
        return client.as_public()

    async def revoke_tokens(self, client: Client, status: StatusReference, context: RequestContext) -> None:
        """Revoke the tokens of `client` that refer to `status`, unless they are revoked already."""
        if client.status is None or self._status_lists.reference(client.status) != status:
            return
        await self._store.revoke_status(client, client.status, self._now(), context)
        self._status_lists.revoked()

    def is_current(self, client: Client, status: StatusReference) -> bool:
        """Return whether tokens of `client` that refer to `status` are still valid."""
        known = client.status
        return client.disabled_at is None and known is not None and self._status_lists.reference(known) == status

    async def find(self, client_id: str) -> Client | None:
        """Return the client with this id, disabled or not."""
        return await self._store.find_client(client_id)

    async def _first_status(self, client: Client) -> StatusListEntry:
        """Assign an index to the client. Concurrent requests get the same one."""
        status = await self._store.assign_status(client, await self._status_lists.lease())
        if status is None:
            raise InvalidClientError
        return status

    async def _check_secret(self, credentials: BasicCredentials) -> tuple[Client | None, AuthFailure | None]:
        client = await self.find(credentials.client_id)
        known = client.secret_hash if client is not None else None
        matches = hmac.compare_digest(hash_secret(credentials.secret), known or _NO_SECRET)
        match client:
            case None:
                return None, AuthFailure.UNKNOWN
            case Client(secret_hash=None):
                return client, AuthFailure.OTHER_METHOD
            case _ if not matches:
                return client, AuthFailure.WRONG_SECRET
            case _:
                return client, AuthFailure.DISABLED if client.disabled_at is not None else None

    async def _check_assertion(self, credentials: ClientAssertion) -> tuple[Client | None, AuthFailure | None]:
        client = None
        try:
            assertion = read_assertion(credentials.assertion)
            client = await self.find(assertion.client_id)
            if client is None:
                return None, AuthFailure.UNKNOWN
            if client.jwks is None:
                return client, AuthFailure.OTHER_METHOD
            verified = verify_assertion(assertion, load_keys(client.jwks), self._urls, self._now())
        except (InvalidAssertionError, ClientKeysError) as error:
            _log.info("client_assertion_rejected", reason=str(error))
            return client, AuthFailure.BAD_ASSERTION
        if credentials.client_id not in {None, client.id}:
            return client, AuthFailure.BAD_ASSERTION
        if client.disabled_at is not None:
            return client, AuthFailure.DISABLED
        # Last, so that an assertion that is rejected anyway is not marked as used.
        jti_hash = hashlib.sha256(verified.jti.encode()).digest()
        fresh = await self._store.record_assertion(client.id, jti_hash, verified.expires_at)
        return client, None if fresh else AuthFailure.USED_ASSERTION

    async def _reject(self, client: Client | None, failure: AuthFailure, context: RequestContext) -> None:
        """Count, log and record a failure. An unknown client id is left out, since it may be any text."""
        self._metrics.client_authentications.labels(failure.value).inc()
        client_id = client.id if client is not None else None
        _log.info("client_authentication_failed", client=client_id, reason=failure.value)
        if self._may_record():
            event = AuditEvent(
                AuditEventKind.CLIENT_AUTHENTICATION_FAILED,
                context,
                client_id=client_id,
                detail={"reason": failure.value},
            )
            await self._store.record_failure(event)

    def _may_record(self) -> bool:
        """Return whether to record an event. All failures share one limit, so that timing reveals no reason."""
        minute = int(self._now().timestamp()) // 60
        self._failures = self._failures + 1 if minute == self._minute else 1
        self._minute = minute
        return self._failures <= FAILURES_RECORDED


def hash_secret(secret: str) -> bytes:
    """Return the stored hash of a client secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _narrowed(allowed: str, requested: str) -> str:
    """Return the requested scope, its tokens in the order of the allowed scope (RFC 6749 §3.3: a scope is a set)."""
    requested_tokens, allowed_tokens = set(requested.split(" ")), allowed.split(" ") if allowed else []
    if not requested_tokens <= set(allowed_tokens):
        raise InvalidScopeError
    return " ".join(token for token in allowed_tokens if token in requested_tokens)
