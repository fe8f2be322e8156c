"""The size of access tokens: computed from the claims, before an operator's change is stored. ADR 0112.

A login never fails because of a token's size. The commands of operators reject what would not fit.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from issuer.tokens.access_token import token_header, token_payload
from issuer.tokens.additional_claims import NO_CLAIMS, ClaimValues
from issuer.tokens.models import (
    DEFAULT_MAX_BYTES,
    DEFAULT_SCOPE,
    FIRST_PARTY_CLIENT,
    AccessTokenClaims,
    PublicClient,
    default_client,
    status_reference,
)
from shared.access_token import MIN_KEY_BITS
from shared.claims import MAX_LIST_CHARACTERS
from shared.status_list import LIST_BITS

_LATEST: Final = datetime(2286, 11, 20, tzinfo=UTC)
"""The last day whose times have ten digits."""

_LARGEST_LIST_ID: Final = 999_999_999
"""A list serves a million sessions, so nine digits are enough for 10¹⁵ of them."""

_KID: Final = "k" * 43
"""As long as an RFC 7638 thumbprint: SHA-256 in base64url."""

_ID: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """The size budget of the access tokens of one issuer.

    Attributes:
        issuer: the `iss` claim.
        audience: that of logins that name no client.
    """

    issuer: str
    audience: str
    max_bytes: int = DEFAULT_MAX_BYTES

    def account_fault(
        self,
        scope: str = DEFAULT_SCOPE,
        roles: Sequence[str] = (),
        claims: ClaimValues = NO_CLAIMS,
        clients: Iterable[PublicClient] = (),
    ) -> str | None:
        """Return why an account must not have `scope`, `roles` and `claims`; None if it may.

        Its user may log in with any of `clients`, the registered public clients.
        """
        for client in (default_client(self.audience), *clients):
            if fault := self.client_fault(client, scope, roles, claims):
                return fault
        return None

    def client_fault(
        self, client: PublicClient, scope: str, roles: Sequence[str], claims: ClaimValues = NO_CLAIMS
    ) -> str | None:
        """Return why `client` must not have tokens of an account with these values; None if it may."""
        narrowed = " ".join(client.allowed(scope.split()))
        audience = max(client.audiences, key=len)
        longest = AccessTokenClaims(
            str(_ID),
            _ID,
            _LATEST,
            client.id,
            narrowed,
            audience,
            tuple(roles),
            additional={**client.claims, **claims},
        )
        fault = self.fault(longest)
        return fault if fault is None or client.id == FIRST_PARTY_CLIENT else f"for the client {client.id}, {fault}"

    def fault(self, claims: AccessTokenClaims) -> str | None:
        """Return why tokens with `claims` must not be issued; None if they may."""
        if len(claims.scope) > MAX_LIST_CHARACTERS:
            return f"the scope has {len(claims.scope)} characters; verifiers accept {MAX_LIST_CHARACTERS}"
        if (length := sum(len(role) + 1 for role in claims.roles)) > MAX_LIST_CHARACTERS:
            return f"the roles have {length} characters with separators; verifiers accept {MAX_LIST_CHARACTERS}"
        excess = self.size(claims) - self.max_bytes
        if excess <= 0:
            return None
        characters = -(-excess * 3 // 4)  # base64url writes three bytes as four characters
        return (
            f"the access token would have {self.max_bytes + excess} bytes instead of {self.max_bytes} at most:"
            f" shorten it by {characters} characters, or raise ISSUER_ACCESS_TOKEN_MAX_BYTES"
        )

    def size(self, claims: AccessTokenClaims) -> int:
        """Return the size in bytes of the longest token with `claims`: with the highest times and status list index.

        The signature is that of a key of `MIN_KEY_BITS`, as the issuer creates them.
        """
        status = status_reference(self.issuer, _LARGEST_LIST_ID, LIST_BITS - 1)
        longest = replace(claims, status=status, auth_time=claims.auth_time and _LATEST)
        payload = token_payload(longest, self.issuer, int(_LATEST.timestamp()), 0, _ID)
        return _encoded(token_header(_KID)) + 1 + _encoded(payload) + 1 + _base64url(MIN_KEY_BITS // 8)


def _encoded(members: dict[str, Any]) -> int:
    return _base64url(len(json.dumps(members, separators=(",", ":"))))


def _base64url(octets: int) -> int:
    """Return the length of `octets` bytes in base64url without padding (RFC 4648 §5)."""
    return (octets * 4 + 2) // 3
