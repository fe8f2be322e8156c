"""`POST /register`, `POST /login`, `GET /me`."""

from datetime import UTC, datetime
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.accounts import Account, Accounts
from issuer.bodies import LoginBody, RegistrationBody, read_body
from issuer.errors import InvalidTokenError
from issuer.routes.bearer import bearer_token
from issuer.routes.origin import origin_of
from issuer.tokens import AccessTokens, Grant


class AccountRoutes:
    """The account endpoints, over the use cases they speak for."""

    def __init__(self, accounts: Accounts, tokens: AccessTokens) -> None:
        self._accounts = accounts
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/register", self.register, methods=["POST"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/me", self.me, methods=["GET"]),
        ]

    async def register(self, request: Request) -> Response:
        """201 and the new account."""
        body = await read_body(request, RegistrationBody)
        account = await self._accounts.register(body.email, body.password, origin_of(request))
        return JSONResponse(_account_document(account), 201)

    async def login(self, request: Request) -> Response:
        """200 and an access token, in the shape of RFC 6749 §5.1."""
        body = await read_body(request, LoginBody)
        account = await self._accounts.authenticate(body.email, body.password, origin_of(request))
        issued = await self._tokens.mint(Grant(account.id, session_id=uuid4(), auth_time=datetime.now(UTC)))
        return JSONResponse(
            {
                "access_token": issued.token,
                "token_type": "Bearer",
                "expires_in": issued.expires_in,
                "scope": issued.scope,
            }
        )

    async def me(self, request: Request) -> Response:
        """200 and the bearer's account; a token outlives neither its account nor a disabling of it."""
        account = await self._accounts.find(await self._tokens.read(bearer_token(request)))
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
