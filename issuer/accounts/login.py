"""Login: check a password, create a session. A login counts as accepted when its session exists."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.context import RequestContext
from issuer.errors import InvalidCredentialsError, InvalidScopeError, TooManyAttemptsError
from issuer.sessions.authorization import LoginRequest, authorize_login, check_login, read_scope
from issuer.sessions.models import TokenPair
from issuer.sessions.service import SessionService
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import ShownSession
from issuer.tokens.models import FIRST_PARTY_CLIENT, PublicClient

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TokenParameters:
    """The unchecked parameters of a login request for its tokens.

    Attributes:
        client_id: the client that the user logs in with.
        scope: None for everything that account and client may have.
        audiences: the first is that of the first access token; empty for all audiences of the client.
    """

    client_id: str = FIRST_PARTY_CLIENT
    scope: str | None = None
    audiences: tuple[str, ...] = ()


class LoginService:
    """The login of users.

    Args:
        default_client: the client of logins that name none.
        find_client: returns a registered public client, or raises an OAuthError.
    """

    def __init__(
        self,
        authenticator: PasswordAuthenticator,
        default_client: PublicClient,
        find_client: Callable[[str], Awaitable[PublicClient]],
        sessions: SessionService,
        metrics: Metrics,
    ) -> None:
        self._authenticator = authenticator
        self._default_client = default_client
        self._find_client = find_client
        self._sessions = sessions
        self._logins = metrics.logins
        for outcome in ("accepted", "rejected", "throttled"):
            self._logins.labels(outcome)  # create the series, so that rate() sees the first increment

    async def log_in(
        self,
        email: str,
        password: str,
        context: RequestContext,
        refresh_token: str,
        parameters: TokenParameters,
    ) -> TokenPair:
        """Return the tokens of a new session.

        `refresh_token` may be empty. That of a live session of the account exempts the login from the limits that
        attempts without such a token have used up.

        Raises:
            InvalidClientError: the client is unknown or disabled.
            UnauthorizedClientError: the client is not public.
            InvalidScopeError: the client or the account may not have the scope.
            InvalidTargetError: the client may not have tokens for an audience.
            InvalidFieldsError: the email is malformed, or the password too long; the same for every account.
            TooManyAttemptsError: too many attempts have failed; the same for every account, existing or not.
            InvalidCredentialsError: for every other reason.
            UnavailableError: the database, the hash queue or the signing key is unavailable.
        """
        request, shown = await self._request(parameters, context), self._shown(refresh_token)
        try:
            login = await self._authenticator.authenticate(email, password, context, shown)
            try:
                authorize_login(request, login.account.scope)
            except InvalidScopeError:
                # This error reveals that the password is correct, so the limits are checked first.
                await self._authenticator.confirm(email, password, context, shown)
                raise
            tokens = await self._sessions.create(login.account, request, context, login.limits)
        except InvalidCredentialsError:
            self._logins.labels("rejected").inc()
            raise
        except TooManyAttemptsError:
            self._logins.labels("throttled").inc()
            raise
        self._logins.labels("accepted").inc()
        _log.info("login_succeeded", account=str(login.account.id))
        return tokens

    async def _request(self, parameters: TokenParameters, context: RequestContext) -> LoginRequest:
        client = self._default_client
        if parameters.client_id != client.id:
            self._authenticator.check_capacity(context)
            client = await self._find_client(parameters.client_id)
        scope = None if parameters.scope is None else read_scope(parameters.scope)
        request = LoginRequest(client, scope, parameters.audiences or None)
        check_login(request)
        return request

    def _shown(self, refresh_token: str) -> ShownSession | None:
        token = self._sessions.read_refresh_token(refresh_token) if refresh_token else None
        return ShownSession(token.session_id, token.generation) if token else None
