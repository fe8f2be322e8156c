"""Machines that ask for tokens themselves: who they are, how they prove it, and what they are granted.

No HTTP, no SQL, no clock of its own. A secret is 32 random bytes of ours, so its SHA-256 is as safe to store as
a slow hash would be, and no stranger can keep the password hashers busy with it (ADR 0043).

An unknown client, a wrong secret, a bad or used assertion and a disabled client are one error, after the same
work: a lookup and a comparison. Why it was refused is for the operator's metrics and audit trail.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog
from cachetools import LRUCache

from issuer.audit.events import Event, EventKind
from issuer.context import RequestContext
from issuer.errors import InvalidClientError, InvalidScopeError, InvalidTargetError
from issuer.oauth.client_assertion import (
    ClientKey,
    RefusedAssertionError,
    load_keys,
    read_assertion,
    verify_assertion,
)
from issuer.oauth.models import CLIENT_ID, BasicCredentials, Client, ClientAssertion, ClientCredentials
from issuer.oauth.store import ClientStore
from issuer.status_lists.allocator import StatusIndexAllocator
from issuer.status_lists.models import StatusListEntry
from issuer.telemetry.metrics import Metrics
from issuer.tokens.models import AccessTokenClaims, StatusReference

_log = structlog.get_logger(__name__)

_NO_SECRET: Final = bytes(32)
"""Compared where there is no secret. No SHA-256 of anything that anybody could send."""

REFUSALS_RECORDED: Final = 300
"""In a minute, by one process. Events stay for ever and being refused costs nothing: without a bound, strangers could
fill the disk with them. Metrics count every refusal."""


CACHED_KEY_SETS: Final = 256
"""Parsed key sets of clients, a few KiB each."""


class ClientRefusal(StrEnum):
    """Why a client was not let in: for metrics and the audit trail, never told."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    OTHER_METHOD = "other_method"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - a label
    BAD_ASSERTION = "bad_assertion"
    USED_ASSERTION = "used_assertion"


class Clients:
    """Authenticates clients and says what they are granted.

    Args:
        store: where they are.
        status_lists: where the bits come from that can revoke their tokens.
        urls: by which assertions may call us (RFC 7523 §3 (3)).
        metrics: where authentications are counted.
        now: the clock.
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
        self._minute = self._refusals = 0
        self._key_cache: LRUCache[tuple[tuple[tuple[str, str], ...], ...], tuple[ClientKey, ...]] = LRUCache(
            CACHED_KEY_SETS
        )

    async def authenticate(self, proof: ClientCredentials, context: RequestContext) -> Client:
        """The client that has proven itself.

        Raises:
            InvalidClientError: it has not, for whatever reason.
            UnavailableError: not now.
        """
        judge = self._judge_secret(proof) if isinstance(proof, BasicCredentials) else self._judge_assertion(proof)
        client, refusal = await judge
        if client is None or refusal is not None:
            await self._refuse(client, refusal or ClientRefusal.UNKNOWN, context)
            raise InvalidClientError
        self._metrics.client_authentications.labels("accepted").inc()
        return client

    async def authorize(self, client: Client, scope: str | None, audience: str | None) -> AccessTokenClaims:
        """What a token for `client` says (RFC 6749 §4.4).

        Args:
            client: as it authenticated.
            scope: what it asks for; everything it may have if None.
            audience: whom the token is for; the client's first audience if None.

        Raises:
            InvalidScopeError: more than it may have.
            InvalidTargetError: not one of its audiences.
            InvalidClientError: the client was changed since it authenticated.
            UnavailableError: not now.
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
        )

    async def revoke_tokens(self, client: Client, status: StatusReference, context: RequestContext) -> None:
        """Revoke what was granted to `client` under the bit that `status` refers to, if that is not done yet.

        Raises:
            UnavailableError: not now.
        """
        if client.status is None or self._status_lists.reference(client.status) != status:
            return
        await self._store.revoke_status(client, client.status, self._now(), context)
        self._status_lists.revoked()

    def is_current(self, client: Client, status: StatusReference) -> bool:
        """Whether tokens of `client` that refer to `status` are still good."""
        known = client.status
        return client.disabled_at is None and known is not None and self._status_lists.reference(known) == status

    async def find(self, client_id: str) -> Client | None:
        """The client of this id, disabled or not.

        Raises:
            UnavailableError: not now.
        """
        return await self._find_plausible(client_id)

    async def _first_status(self, client: Client) -> StatusListEntry:
        """A bit of its own: of several requests at once one gives it, and all get that one."""
        status = await self._store.give_status(client, await self._status_lists.lease())
        if status is None:
            raise InvalidClientError
        return status

    async def _judge_secret(self, proof: BasicCredentials) -> tuple[Client | None, ClientRefusal | None]:
        client = await self._find_plausible(proof.client_id)
        known = client.secret_hash if client is not None else None
        right = hmac.compare_digest(hash_secret(proof.secret), known or _NO_SECRET)
        match client:
            case None:
                return None, ClientRefusal.UNKNOWN
            case Client(secret_hash=None):
                return client, ClientRefusal.OTHER_METHOD
            case _ if not right:
                return client, ClientRefusal.WRONG_SECRET
            case _:
                return client, ClientRefusal.DISABLED if client.disabled_at is not None else None

    async def _judge_assertion(self, proof: ClientAssertion) -> tuple[Client | None, ClientRefusal | None]:
        client = None
        try:
            assertion = read_assertion(proof.assertion)
            client = await self._find_plausible(assertion.client_id)
            if client is None:
                return None, ClientRefusal.UNKNOWN
            if client.jwks is None:
                return client, ClientRefusal.OTHER_METHOD
            verified = verify_assertion(assertion, self._parsed_keys(client.jwks), self._urls, self._now())
        except RefusedAssertionError as error:
            _log.info("assertion refused", reason=str(error))
            return client, ClientRefusal.BAD_ASSERTION
        if proof.client_id not in {None, client.id}:
            return client, ClientRefusal.BAD_ASSERTION
        if client.disabled_at is not None:
            return client, ClientRefusal.DISABLED
        # Last, so that nobody can spend an assertion that would have been refused anyhow.
        jti_hash = hashlib.sha256(verified.jti.encode()).digest()
        fresh = await self._store.use_assertion(client.id, jti_hash, verified.expires_at)
        return client, None if fresh else ClientRefusal.USED_ASSERTION

    def _parsed_keys(self, jwks: tuple[dict[str, str], ...]) -> tuple[ClientKey, ...]:
        """Return the keys ready to check signatures. Parsing them takes longer than a signature check."""
        # By content, not by client: whatever changes a client, it cannot leave an old key in use.
        content = tuple(tuple(key.items()) for key in jwks)
        keys = self._key_cache.get(content)
        if keys is None:
            keys = self._key_cache[content] = load_keys(jwks)
        return keys

    async def _find_plausible(self, client_id: str) -> Client | None:
        """What cannot be an id, a NUL say, is not asked for."""
        return await self._store.find_client(client_id) if CLIENT_ID.fullmatch(client_id) else None

    async def _refuse(self, client: Client | None, refusal: ClientRefusal, context: RequestContext) -> None:
        """An id that is nobody's is a stranger's text, so it is left out."""
        self._metrics.client_authentications.labels(refusal.value).inc()
        client_id = client.id if client is not None else None
        _log.info("client refused", client=client_id, reason=refusal.value)
        if self._is_to_be_recorded():
            event = Event(EventKind.CLIENT_REFUSED, context, client_id=client_id, detail={"reason": refusal.value})
            await self._store.record_refusal(event)

    def _is_to_be_recorded(self) -> bool:
        """Whoever's refusal it is, so that nothing is learned from the work that it makes."""
        minute = int(self._now().timestamp()) // 60
        self._refusals = self._refusals + 1 if minute == self._minute else 1
        self._minute = minute
        return self._refusals <= REFUSALS_RECORDED


def hash_secret(secret: str) -> bytes:
    """What is stored of a client secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _narrowed(own: str, asked: str) -> str:
    """What is asked for, in the order of what may be (RFC 6749 §3.3: scopes are a set)."""
    wanted, granted = set(asked.split(" ")), own.split(" ") if own else []
    if not wanted <= set(granted):
        raise InvalidScopeError
    return " ".join(scope for scope in granted if scope in wanted)
