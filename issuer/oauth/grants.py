"""The grants of the token endpoint: refresh_token (RFC 6749 §6) and client_credentials (§4.4)."""

from issuer.errors import (
    InvalidClientError,
    InvalidRequestError,
    InvalidTargetError,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
)
from issuer.oauth.client_authentication import authenticate_client
from issuer.oauth.clients import ClientAuthenticator
from issuer.oauth.models import OAuthRequest
from issuer.sessions.authorization import RefreshRequest, read_scope
from issuer.sessions.models import TokenPair
from issuer.sessions.service import SessionService
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.models import SignedAccessToken


class Grants:
    """The exchange of grants for tokens."""

    def __init__(self, sessions: SessionService, clients: ClientAuthenticator, access_tokens: AccessTokens) -> None:
        self._sessions = sessions
        self._clients = clients
        self._access_tokens = access_tokens

    async def exchange(self, request: OAuthRequest) -> TokenPair | SignedAccessToken:
        """Issue tokens by the `grant_type` of the request.

        Raises:
            OAuthError: the request, its client or its grant is rejected.
            UnavailableError: the database is unavailable, or there is no signing key.
        """
        match request.get("grant_type"):
            case None:
                raise InvalidRequestError
            case "refresh_token":
                return await self.refresh(request)
            case "client_credentials":
                return await self._client_credentials(request)
            case _:
                raise UnsupportedGrantTypeError

    async def refresh(self, request: OAuthRequest) -> TokenPair:
        """Refresh a session. A public client need not name itself: the refresh token is bound to it.

        Raises:
            OAuthError: as `exchange`.
            UnavailableError: as `exchange`.
        """
        if await authenticate_client(self._clients, request) is not None:
            # A machine has no session; it requests a new token instead (RFC 6749 §4.4.3).
            raise UnauthorizedClientError
        scope = request.get("scope")
        refresh = RefreshRequest(
            request.get("client_id"), None if scope is None else read_scope(scope), _target(request)
        )
        return await self._sessions.refresh(request.required("refresh_token"), refresh, request.context)

    async def _client_credentials(self, request: OAuthRequest) -> SignedAccessToken:
        # First, since authentication uses up the assertion, and no token can be signed without a key.
        self._access_tokens.require_key()
        client = await authenticate_client(self._clients, request)
        if client is None:
            raise InvalidClientError
        claims = await self._clients.authorize(client, request.get("scope"), _target(request))
        return self._access_tokens.mint(claims)


def _target(request: OAuthRequest) -> str | None:
    """Return the requested audience: `resource` (RFC 8707 §2) or its common name `audience`.

    Raises:
        InvalidTargetError: both were sent, with different values.
    """
    targets = {request.parameters[name] for name in ("resource", "audience") if name in request.parameters}
    if len(targets) > 1:
        raise InvalidTargetError
    return targets.pop() if targets else None
