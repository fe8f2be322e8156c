"""The values of OAuth: a registered client, its credentials, and a request to an endpoint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from issuer.context import RequestContext
from issuer.errors import InvalidRequestError
from issuer.status_lists.models import StatusListEntry
from issuer.tokens.additional_claims import ClaimValues
from issuer.tokens.models import PublicClient

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The same pattern as in the schema. No character needs escaping in a URL, in JSON or in a log."""


class AuthMethod(StrEnum):
    """The one method by which a client authenticates, if any (names of the IANA registry of RFC 8414 §7.3)."""

    CLIENT_SECRET_BASIC = "client_secret_basic"  # noqa: S105 - a label
    PRIVATE_KEY_JWT = "private_key_jwt"
    NONE = "none"
    """A public client (RFC 6749 §2.1), with which users log in; it has no tokens of its own."""


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client.

    Attributes:
        scope: the scope that it may request; may be empty.
        audiences: the allowed audiences of its tokens, and of those of its users; the first is the default.
        secret_hash: SHA-256 of its secret, for `client_secret_basic`.
        jwks: its public keys as `client_assertion.register_keys` returns them, for `private_key_jwt`.
        status: the status list index of its live tokens; None before the first token and after a revocation.
        security_version: increases with every change, so that a concurrent request cannot use the old state.
        claims: additional claims of its tokens.
    """

    id: str
    name: str
    auth_method: AuthMethod
    scope: str
    audiences: tuple[str, ...]
    created_at: datetime
    disabled_at: datetime | None = None
    secret_hash: bytes | None = field(default=None, repr=False)
    jwks: tuple[dict[str, str], ...] | None = field(default=None, repr=False)
    status: StatusListEntry | None = None
    security_version: int = 0
    claims: ClaimValues = field(default_factory=dict)

    @property
    def is_public(self) -> bool:
        """Return whether users log in with this client."""
        return self.auth_method is AuthMethod.NONE

    def as_public(self) -> PublicClient:
        """Return what the tokens of its users may contain."""
        return PublicClient(
            self.id, self.audiences, frozenset(self.scope.split()), self.security_version, self.claims
        )


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """The id and secret of Basic authentication (RFC 6749 §2.3.1)."""

    client_id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """A client assertion, and the `client_id` parameter if it was sent (RFC 7521 §4.2)."""

    assertion: str = field(repr=False)
    client_id: str | None = field(repr=False)


ClientCredentials = BasicCredentials | ClientAssertion


@dataclass(frozen=True, slots=True)
class OAuthRequest:
    """A form that was sent to an OAuth endpoint, not verified yet.

    Attributes:
        parameters: of the form, without empty ones.
        authorization: the values of the Authorization header fields.
        context: where the request comes from.
    """

    parameters: Mapping[str, str] = field(repr=False)
    authorization: tuple[str, ...] = field(repr=False)
    context: RequestContext

    def get(self, name: str) -> str | None:
        """Return a parameter, or None if it was not sent."""
        return self.parameters.get(name)

    def required(self, name: str) -> str:
        """Return a parameter.

        Raises:
            InvalidRequestError: it was not sent.
        """
        if name not in self.parameters:
            raise InvalidRequestError
        return self.parameters[name]
