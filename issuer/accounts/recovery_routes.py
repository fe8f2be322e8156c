"""`POST /password`, `/password/forgot`, `/password/reset`, `/email/verify`, `/email/verify/resend`; `DELETE /me`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.accounts.login import Account, Accounts
from issuer.accounts.recovery import Recovery
from issuer.errors import InvalidTokenError
from issuer.http.request_body import (
    EmailBody,
    PasswordBody,
    PasswordChangeBody,
    PasswordResetBody,
    TokenBody,
    read_body,
)
from issuer.http.request_context import request_context
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.bearer import Owner, owner_of


class RecoveryRoutes:
    """The endpoints of an account after its registration, over the use cases they speak for."""

    def __init__(self, recovery: Recovery, accounts: Accounts, tokens: AccessTokens) -> None:
        self._recovery = recovery
        self._accounts = accounts
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/email/verify", self.verify_email, methods=["POST"]),
            Route("/email/verify/resend", self.resend_verification, methods=["POST"]),
            Route("/password", self.change_password, methods=["POST"]),
            Route("/password/forgot", self.forgot_password, methods=["POST"]),
            Route("/password/reset", self.reset_password, methods=["POST"]),
            Route("/me", self.delete_account, methods=["DELETE"]),
        ]

    async def verify_email(self, request: Request) -> Response:
        """204, and the address is verified."""
        body = await read_body(request, TokenBody)
        await self._recovery.verify_email(body.token, request_context(request))
        return Response(status_code=204)

    async def resend_verification(self, request: Request) -> Response:
        """202, whoever has the address or not."""
        body = await read_body(request, EmailBody)
        await self._recovery.resend_verification(body.email, request_context(request))
        return accepted()

    async def forgot_password(self, request: Request) -> Response:
        """202, whoever has the address or not."""
        body = await read_body(request, EmailBody)
        await self._recovery.forgot_password(body.email, request_context(request))
        return accepted()

    async def reset_password(self, request: Request) -> Response:
        """204, the password is new and every session has ended."""
        body = await read_body(request, PasswordResetBody)
        await self._recovery.reset_password(body.token, body.password, request_context(request))
        return Response(status_code=204)

    async def change_password(self, request: Request) -> Response:
        """204, the password is new and every other session has ended."""
        account, owner = await self._present(request)
        body = await read_body(request, PasswordChangeBody)
        await self._recovery.change_password(
            account, owner.session_id, body.current_password, body.new_password, request_context(request)
        )
        return Response(status_code=204)

    async def delete_account(self, request: Request) -> Response:
        """204, and there is no such account any more."""
        account, owner = await self._present(request)
        body = await read_body(request, PasswordBody)
        await self._recovery.delete_account(account, owner.session_id, body.password, request_context(request))
        return Response(status_code=204)

    async def _present(self, request: Request) -> tuple[Account, Owner]:
        """The bearer's account, in a session that lives."""
        owner = await owner_of(request, self._tokens)
        account = await self._accounts.find(owner.user_id, owner.session_id)
        if account is None:
            raise InvalidTokenError
        return account, owner


def accepted() -> Response:
    """202, in the same bytes for everybody: what there is to say is said by mail."""
    return JSONResponse({"status": "accepted"}, 202)
