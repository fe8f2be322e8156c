"""Registers, changes, disables and deletes OAuth clients for an operator. No SQL, no clock of its own.

Every change revokes the earlier tokens of a machine, because their claims may be wrong now. The machine then requests
a new token.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from issuer.audit.events import AuditEvent, AuditEventKind, RevocationReason
from issuer.context import OPERATOR
from issuer.errors import ClientRegistrationError
from issuer.oauth.client_assertion import ClientKeysError, register_keys
from issuer.oauth.clients import hash_secret
from issuer.oauth.models import CLIENT_ID, AuthMethod, Client
from issuer.oauth.store import ClientStore
from issuer.tokens.additional_claims import NO_CLAIMS, ClaimValue, changed_claims
from issuer.tokens.models import DEFAULT_SCOPE, FIRST_PARTY_CLIENT, MAX_AUDIENCE_CHARACTERS, AccessTokenClaims
from issuer.tokens.size import TokenBudget
from shared import base64url
from shared.claims import SCOPE

_AUDIENCE: Final = re.compile(rf"[\x21\x23-\x5b\x5d-\x7e]{{1,{MAX_AUDIENCE_CHARACTERS}}}")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,100}")
_MAX_AUDIENCES: Final = 16
_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A registered client with its new secret, which is not stored and so must be shown now."""

    client: Client
    secret: str | None = field(default=None, repr=False)


class ClientRegistry:
    """The registry of the clients of one issuer.

    Its methods raise UnavailableError if the database is unavailable, and ClientRegistrationError if an argument is
    invalid or there is no such client.

    Args:
        budget: the size budget of their tokens.
        random_bytes: returns the given number of random bytes from the operating system.
    """

    def __init__(
        self,
        budget: TokenBudget,
        store: ClientStore,
        now: Callable[[], datetime],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._budget = budget
        self._store = store
        self._now = now
        self._random_bytes = random_bytes

    async def create(
        self,
        name: str,
        client_id: str | None,
        scope: str,
        audiences: Sequence[str],
        jwks: bytes | None,
        *,
        public: bool = False,
        claims: Mapping[str, ClaimValue | None] = NO_CLAIMS,
    ) -> RegisteredClient:
        """Register a client.

        Args:
            name: for operators.
            client_id: None for a random one.
            scope: the allowed scope.
            audiences: the allowed audiences, the default first.
            jwks: its public keys; without them it gets a secret, unless it is public.
            public: whether users log in with it; it then has no credentials.
            claims: additional claims of its tokens, as `ClaimTypes` has checked them.

        Raises:
            ClientRegistrationError: an argument is invalid, or the id is taken.
        """
        client_id = client_id if client_id is not None else f"client-{self._random_bytes(6).hex()}"
        _check_names(name, client_id)
        if public and jwks is not None:
            raise ClientRegistrationError("a public client has no keys")
        method, keys, secret = AuthMethod.NONE, None, None
        if jwks is not None:
            method, keys = AuthMethod.PRIVATE_KEY_JWT, _keys(jwks)
        elif not public:
            method, secret = AuthMethod.CLIENT_SECRET_BASIC, self._new_secret()
        client = Client(
            id=client_id,
            name=name,
            auth_method=method,
            scope=scope,
            audiences=tuple(audiences),
            created_at=self._now(),
            secret_hash=hash_secret(secret) if secret is not None else None,
            jwks=keys,
            claims=changed_claims(NO_CLAIMS, claims),
        )
        await self._check_permissions(client)
        detail = {"auth_method": client.auth_method.value}
        if not await self._store.insert_client(client, _event(AuditEventKind.CLIENT_CREATED, client_id, detail)):
            raise ClientRegistrationError(f"{client_id}: there is a client of this id already")
        return RegisteredClient(client, secret)

    async def list(self) -> list[Client]:
        """Return all clients, the oldest first."""
        return await self._store.list_clients()

    async def find(self, client_id: str) -> Client:
        """Return the client with this id."""
        return _existing(await self._store.find_client(client_id))

    async def update(
        self,
        client_id: str,
        scope: str | None,
        audiences: Sequence[str] | None,
        jwks: bytes | None,
        claims: Mapping[str, ClaimValue | None] = NO_CLAIMS,
    ) -> Client:
        """Change scope, audiences, keys or additional claims of a client. None means no change.

        The earlier tokens of a machine are revoked. Sessions of a public client follow the change when they refresh.
        """
        keys = _keys(jwks) if jwks is not None else None

        def change(client: Client) -> Client:
            if keys is not None and client.auth_method is not AuthMethod.PRIVATE_KEY_JWT:
                raise ClientRegistrationError("this client does not authenticate by keys")
            return replace(
                client,
                scope=client.scope if scope is None else scope,
                audiences=client.audiences if audiences is None else tuple(audiences),
                jwks=keys or client.jwks,
                claims=changed_claims(client.claims, claims),
            )

        await self._check_permissions(change(await self.find(client_id)))
        given = {"scope": scope, "audiences": audiences, "keys": jwks, "claims": claims or None}
        detail = {name: True for name, value in given.items() if value is not None}
        return await self._change(client_id, change, AuditEventKind.CLIENT_UPDATED, detail)

    async def rotate_secret(self, client_id: str) -> RegisteredClient:
        """Replace the secret of a client.

        Raises:
            ClientRegistrationError: there is no such client, or it has no secret.
        """
        secret = self._new_secret()

        def change(client: Client) -> Client:
            if client.secret_hash is None:
                raise ClientRegistrationError("this client does not authenticate by a secret")
            return replace(client, secret_hash=hash_secret(secret))

        client = await self._change(client_id, change, AuditEventKind.CLIENT_UPDATED, {"secret": True})
        return RegisteredClient(client, secret)

    async def disable(self, client_id: str) -> Client:
        """Disable a client and revoke its tokens, and the sessions of its users.

        After an interruption, a second call completes it.
        """
        now = self._now()
        client = await self._change(
            client_id,
            lambda client: replace(client, disabled_at=client.disabled_at or now),
            AuditEventKind.CLIENT_DISABLED,
        )
        if client.is_public:
            await self._store.revoke_sessions(client_id, self._now(), RevocationReason.CLIENT_DISABLED, OPERATOR)
        return client

    async def enable(self, client_id: str) -> Client:
        """Enable a client again. Its revoked tokens stay revoked."""
        return await self._change(
            client_id, lambda client: replace(client, disabled_at=None), AuditEventKind.CLIENT_ENABLED
        )

    async def delete(self, client_id: str) -> Client:
        """Delete a client and revoke its tokens, and the sessions of its users. Return the deleted client."""
        if (await self.find(client_id)).is_public:
            # Disable it first: a login must not add a session after the last one was revoked.
            await self.disable(client_id)
        event = _event(AuditEventKind.CLIENT_DELETED, client_id)
        return _existing(await self._store.change_client(client_id, lambda _: None, event, self._now()))

    async def _change(
        self,
        client_id: str,
        change: Callable[[Client], Client],
        kind: AuditEventKind,
        detail: dict[str, bool] | None = None,
    ) -> Client:
        event = _event(kind, client_id, detail)
        before = _existing(await self._store.change_client(client_id, change, event, self._now()))
        return change(before)  # the state that the store has written

    async def _check_permissions(self, client: Client) -> None:
        scope, audiences = client.scope, client.audiences
        if not SCOPE.fullmatch(scope):
            raise ClientRegistrationError("a scope must be words of visible ASCII with single spaces between them")
        if not 1 <= len(audiences) <= _MAX_AUDIENCES or not all(map(_AUDIENCE.fullmatch, audiences)):
            raise ClientRegistrationError(
                f"a client must have 1 to {_MAX_AUDIENCES} audiences of 1 to {MAX_AUDIENCE_CHARACTERS} characters"
                " of visible ASCII"
            )
        if fault := await self._fault_of_users(client) if client.is_public else self._fault_of_machine(client):
            raise ClientRegistrationError(fault)

    def _fault_of_machine(self, client: Client) -> str | None:
        audience = max(client.audiences, key=len)
        return self._budget.fault(
            AccessTokenClaims(client.id, None, None, client.id, client.scope, audience, additional=client.claims)
        )

    async def _fault_of_users(self, client: Client) -> str | None:
        """Return why tokens of this client would be too long for a new account or for an existing one; else None."""
        public = client.as_public()
        scope, roles, claims = await self._store.find_largest_account(client)
        return self._budget.client_fault(public, DEFAULT_SCOPE, ()) or self._budget.client_fault(
            public, scope, roles, claims
        )

    def _new_secret(self) -> str:
        """Return 256 random bits with a prefix that secret scanners recognise."""
        return "gpc_" + base64url.encode(self._random_bytes(_SECRET_BYTES))


def _existing(client: Client | None) -> Client:
    if client is None:
        raise ClientRegistrationError("there is no such client")
    return client


def _event(kind: AuditEventKind, client_id: str, detail: Any = None) -> AuditEvent:
    return AuditEvent(kind, OPERATOR, client_id=client_id, detail=detail or {})


def _keys(document: bytes) -> tuple[dict[str, str], ...]:
    try:
        return register_keys(document)
    except ClientKeysError as error:
        raise ClientRegistrationError(f"the key set cannot be registered: {error}") from None


def _check_names(name: str, client_id: str) -> None:
    """Check name and id. RFC 9068 §5: the `sub` of a client must not be that of a user, which is a UUID."""
    if not _NAME.fullmatch(name):
        raise ClientRegistrationError("a name must have 1 to 100 characters and no control characters")
    if not CLIENT_ID.fullmatch(client_id):
        raise ClientRegistrationError("an id must have 1 to 64 letters, digits, dots, hyphens and underscores")
    if client_id == FIRST_PARTY_CLIENT or _is_uuid(client_id):
        raise ClientRegistrationError(f"an id must be neither {FIRST_PARTY_CLIENT} nor a UUID, which users have")


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
