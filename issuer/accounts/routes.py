"""`POST /register`, `POST /login`, `GET /me`."""

from datetime import UTC

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.accounts.login import Account, Accounts
from issuer.accounts.recovery import RegistrationByMail
from issuer.accounts.recovery_routes import accepted
from issuer.accounts.registration import Registrar
from issuer.errors import InvalidTokenError
from issuer.http.request_body import LoginBody, RegistrationBody, read_body
from issuer.http.request_context import request_context
from issuer.sessions.service import Sessions
from issuer.sessions.token_response import token_response
from issuer.throttling.login_limits import ShownSession
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.bearer import owner_of
from issuer.tokens.refresh_token import RefreshTokens


class AccountRoutes:
    """The account endpoints, over the use cases they speak for."""

    def __init__(
        self,
        accounts: Accounts,
        registrar: Registrar,
        sessions: Sessions,
        tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        by_mail: RegistrationByMail | None = None,
    ) -> None:
        self._accounts = accounts
        self._registrar = registrar
        self._by_mail = by_mail
        self._sessions = sessions
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/register", self.register, methods=["POST"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/me", self.me, methods=["GET"]),
        ]

    async def register(self, request: Request) -> Response:
        """201 and the new account; or 202 where a mail has to open it, whoever has the address."""
        body = await read_body(request, RegistrationBody)
        if self._by_mail is not None:
            await self._by_mail.register(body.email, body.password, request_context(request))
            return accepted()
        account = await self._registrar.register(body.email, body.password, request_context(request))
        return JSONResponse(_account_document(account), 201)

    async def login(self, request: Request) -> Response:
        """200 and the tokens of a new session, in the shape of RFC 6749 §5.1."""
        body = await read_body(request, LoginBody)
        context = request_context(request)
        token = self._refresh_tokens.read(body.refresh_token) if body.refresh_token else None
        shown = ShownSession(token.session_id, token.generation) if token else None
        login = await self._accounts.authenticate(body.email, body.password, context, shown)
        issued = await self._sessions.create(login.account, context, login.limits)
        self._accounts.count_accepted(login.account)
        return token_response(issued)

    async def me(self, request: Request) -> Response:
        """200 and the bearer's account; a token outlives neither its session nor its account."""
        owner = await owner_of(request, self._tokens)
        account = await self._accounts.find(owner.user_id, owner.session_id)
        if account is None:
            raise InvalidTokenError
        return JSONResponse(_account_document(account))


def _account_document(account: Account) -> dict[str, str]:
    created_at = account.created_at.astimezone(UTC).isoformat(timespec="microseconds")
    return {
        "id": str(account.id),
        "email": account.email,
        "created_at": created_at.replace("+00:00", "Z"),
    }
