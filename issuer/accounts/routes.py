"""The endpoints of accounts: `/register`, `/login`, `/me`, `/password*`, `/email/*`."""

from datetime import UTC

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.accounts.email_verification import EmailVerification
from issuer.accounts.login import LoginService, TokenParameters
from issuer.accounts.models import Account
from issuer.accounts.password_reset import PasswordReset
from issuer.accounts.registration import RegistrationService
from issuer.accounts.self_service import SelfService
from issuer.http.request_body import (
    EmailBody,
    LoginBody,
    PasswordBody,
    PasswordChangeBody,
    PasswordResetBody,
    RegistrationBody,
    TokenBody,
    read_body,
)
from issuer.http.request_context import request_context
from issuer.sessions.cookies import SessionCookies
from issuer.sessions.token_response import token_response
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.bearer import Principal, authenticate


class AccountRoutes:
    """The account endpoints."""

    def __init__(
        self,
        registration: RegistrationService,
        login: LoginService,
        self_service: SelfService,
        password_reset: PasswordReset,
        email_verification: EmailVerification,
        tokens: AccessTokens,
        cookies: SessionCookies,
    ) -> None:
        self._registration = registration
        self._login = login
        self._self_service = self_service
        self._password_reset = password_reset
        self._email_verification = email_verification
        self._tokens = tokens
        self._cookies = cookies

    def routes(self) -> list[Route]:
        """Return the routes of the public application."""
        return [
            Route("/register", self.register, methods=["POST"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/me", self.me, methods=["GET"]),
            Route("/me", self.delete_account, methods=["DELETE"]),
            Route("/email/verify", self.verify_email, methods=["POST"]),
            Route("/email/verify/resend", self.resend_verification, methods=["POST"]),
            Route("/password", self.change_password, methods=["POST"]),
            Route("/password/forgot", self.forgot_password, methods=["POST"]),
            Route("/password/reset", self.reset_password, methods=["POST"]),
        ]

    async def register(self, request: Request) -> Response:
        """Return 201 with the new account, or 202 if its email must be verified first."""
        body = await read_body(request, RegistrationBody)
        account = await self._registration.register(body.email, body.password, request_context(request))
        return _accepted() if account is None else JSONResponse(_document(account), 201)

    async def login(self, request: Request) -> Response:
        """Return 200 with the tokens of a new session, in the form of RFC 6749 §5.1 or in cookies."""
        body = await read_body(request, LoginBody)
        shown = body.refresh_token
        if body.cookies:
            self._cookies.check_login(request)
            shown = shown or self._cookies.refresh_token(request) or ""
        parameters = TokenParameters(body.client_id, body.scope or None, body.resource)
        tokens = await self._login.log_in(body.email, body.password, request_context(request), shown, parameters)
        return self._cookies.token_response(tokens) if body.cookies else token_response(tokens)

    async def me(self, request: Request) -> Response:
        """Return 200 with the account of the access token, if its session is active and its account is enabled."""
        account, _ = await self._authenticated(request)
        return JSONResponse(_document(account))

    async def delete_account(self, request: Request) -> Response:
        """Delete the account and return 204."""
        account, principal = await self._authenticated(request)
        body = await read_body(request, PasswordBody)
        await self._self_service.delete_account(
            account, principal.session_id, body.password, request_context(request)
        )
        return Response(status_code=204)

    async def verify_email(self, request: Request) -> Response:
        """Mark the email as verified and return 204."""
        body = await read_body(request, TokenBody)
        await self._email_verification.verify(body.token, request_context(request))
        return Response(status_code=204)

    async def resend_verification(self, request: Request) -> Response:
        """Return 202, whether or not the email has an account."""
        body = await read_body(request, EmailBody)
        await self._email_verification.resend(body.email, request_context(request))
        return _accepted()

    async def change_password(self, request: Request) -> Response:
        """Set a new password, revoke every other session and return 204."""
        account, principal = await self._authenticated(request)
        body = await read_body(request, PasswordChangeBody)
        await self._self_service.change_password(
            account, principal.session_id, body.current_password, body.new_password, request_context(request)
        )
        return Response(status_code=204)

    async def forgot_password(self, request: Request) -> Response:
        """Return 202, whether or not the email has an account."""
        body = await read_body(request, EmailBody)
        await self._password_reset.request(body.email, request_context(request))
        return _accepted()

    async def reset_password(self, request: Request) -> Response:
        """Set a new password, revoke every session and return 204."""
        body = await read_body(request, PasswordResetBody)
        await self._password_reset.reset(body.token, body.password, request_context(request))
        return Response(status_code=204)

    async def _authenticated(self, request: Request) -> tuple[Account, Principal]:
        principal = authenticate(request, self._tokens)
        return await self._self_service.account(principal.user_id, principal.session_id), principal


def _accepted() -> Response:
    # The same bytes for every request: a response must not reveal which emails have an account.
    return JSONResponse({"status": "accepted"}, 202)


def _document(account: Account) -> dict[str, str]:
    created_at = account.created_at.astimezone(UTC).isoformat(timespec="microseconds")
    return {
        "id": str(account.id),
        "email": account.email,
        "created_at": created_at.replace("+00:00", "Z"),
    }
