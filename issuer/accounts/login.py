"""Login: check a password, create a session. A login counts as accepted when its session exists."""

import structlog

from issuer.accounts.authentication import PasswordAuthenticator
from issuer.context import RequestContext
from issuer.errors import InvalidCredentialsError, TooManyAttemptsError
from issuer.sessions.models import TokenPair
from issuer.sessions.service import SessionService
from issuer.telemetry.metrics import Metrics
from issuer.throttling.models import ShownSession
from issuer.tokens.refresh_token import RefreshTokens

_log = structlog.get_logger(__name__)


class LoginService:
    """Logs users in.

    Args:
        authenticator: checks passwords.
        sessions: creates sessions.
        refresh_tokens: reads the refresh token that a request shows.
        metrics: counts logins.
    """

    def __init__(
        self,
        authenticator: PasswordAuthenticator,
        sessions: SessionService,
        refresh_tokens: RefreshTokens,
        metrics: Metrics,
    ) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._refresh_tokens = refresh_tokens
        self._logins = metrics.logins
        for outcome in ("accepted", "rejected", "throttled"):
            self._logins.labels(outcome)  # create the series, so that rate() sees the first increment

    async def log_in(
        self, email: str, password: str, context: RequestContext, refresh_token: str | None = None
    ) -> TokenPair:
        """Return the tokens of a new session.

        Args:
            email: as the user typed it.
            password: as the user typed it.
            context: of the request.
            refresh_token: of an earlier session of the account, which exempts from limits that others have used up.

        Raises:
            InvalidFieldsError: not an email, or longer than any password; the same for every account.
            TooManyAttemptsError: too many have failed; the same for every account, existing or not.
            InvalidCredentialsError: for every other reason.
            UnavailableError: the database, the hash queue or the signing key is unavailable.
        """
        try:
            login = await self._authenticator.authenticate(email, password, context, self._shown(refresh_token))
            tokens = await self._sessions.create(login.account, context, login.limits)
        except InvalidCredentialsError:
            self._logins.labels("rejected").inc()
            raise
        except TooManyAttemptsError:
            self._logins.labels("throttled").inc()
            raise
        self._logins.labels("accepted").inc()
        _log.info("login_accepted", account=str(login.account.id))
        return tokens

    def _shown(self, refresh_token: str | None) -> ShownSession | None:
        token = self._refresh_tokens.read(refresh_token) if refresh_token else None
        return ShownSession(token.session_id, token.generation) if token else None
