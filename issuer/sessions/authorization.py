"""The audience and scope of a session's access tokens (RFC 6749 §3.3 and §6, RFC 8707). No I/O.

An access token has one audience. A login may request several: the session may then have tokens for each of them. The
first token is for the first audience, and each refresh chooses one. A login that requests a scope or audiences limits
its session to them. A refresh may narrow the scope of one access token; that of the session does not change.

`rotate-session` in `store.sql` checks the same conditions as `authorize_refresh`, and a test compares the two.
"""

from dataclasses import dataclass

from issuer.errors import InvalidScopeError, InvalidTargetError
from issuer.sessions.models import SessionState
from issuer.tokens.models import PublicClient


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """The client of a login, and the requested scope and audiences.

    Attributes:
        scope: scope tokens; None for everything that account and client may have.
        audiences: in the order of the request; None for all audiences of the client.
    """

    client: PublicClient
    scope: frozenset[str] | None = None
    audiences: tuple[str, ...] | None = None

    @property
    def audience(self) -> str:
        """The audience of the first access token."""
        return (self.audiences or self.client.audiences)[0]


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """The client that a refresh names, if any, and the requested scope and audience of the new access token.

    Attributes:
        client_id: None for that of the session (RFC 6749 §3.2.1).
        scope: scope tokens; None for everything that the session may have.
        audience: None for the first one that the session may have.
    """

    client_id: str | None = None
    scope: frozenset[str] | None = None
    audience: str | None = None


def read_scope(text: str) -> frozenset[str]:
    """Return the tokens of a requested scope.

    Raises:
        InvalidScopeError: they are not separated by single spaces.
    """
    tokens = frozenset(text.split(" "))
    if "" in tokens:
        raise InvalidScopeError
    return tokens


def check_login(request: LoginRequest) -> None:
    """Check that the client may have what is requested, before the account is known.

    Raises:
        InvalidScopeError: the scope exceeds that of the client.
        InvalidTargetError: an audience is not one of the client.
    """
    if not set(request.audiences or ()) <= set(request.client.audiences):
        raise InvalidTargetError
    if request.scope is not None and not request.client.allows(request.scope):
        raise InvalidScopeError


def authorize_login(request: LoginRequest, account_scope: str) -> str:
    """Return the scope of a new session.

    Raises:
        InvalidScopeError: the request exceeds the scope of the account.
    """
    granted = account_scope.split()
    if request.scope is None:
        return " ".join(request.client.allowed(granted))
    if not request.scope <= set(granted):
        raise InvalidScopeError
    return " ".join(token for token in granted if token in request.scope)


def authorize_refresh(state: SessionState, request: RefreshRequest) -> tuple[str, str]:
    """Return audience and scope of a new access token of a session whose client exists.

    Scope tokens that the account has lost since the login are omitted.

    Raises:
        InvalidScopeError: the request exceeds what the session may have.
        InvalidTargetError: the session may have no token for this audience, or for any.
    """
    client = state.client
    assert client is not None  # `evaluate_refresh` has rejected the session
    allowed = [name for name in state.audiences or client.audiences if name in client.audiences]
    if not allowed or request.audience not in {None, *allowed}:
        raise InvalidTargetError
    at_login, current = state.login_scope.split(), client.allowed(state.scope.split())
    grantable = [token for token in current if token in at_login] if state.scope_limited else current
    if request.scope is None:
        return request.audience or allowed[0], " ".join(grantable)
    if not request.scope <= {*at_login, *grantable} or not client.allows(request.scope):
        raise InvalidScopeError
    return request.audience or allowed[0], " ".join(token for token in grantable if token in request.scope)
