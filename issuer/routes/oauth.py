"""`POST /token`: what OAuth clients ask (RFC 6749 §3.2). Errors are those of §5.2 and no others."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.errors import InvalidTokenRequestError, UnsupportedGrantTypeError
from issuer.forms import read_form
from issuer.oauth_errors import in_oauth_words
from issuer.routes.origin import origin_of
from issuer.routes.token_document import token_document
from issuer.sessions import Sessions
from issuer.tokens import FIRST_PARTY_CLIENT


class OAuthRoutes:
    """The OAuth endpoints, over the use cases they speak for."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """For the application."""
        return [Route("/token", self.token, methods=["POST"])]

    @in_oauth_words
    async def token(self, request: Request) -> Response:
        """200 and tokens (RFC 6749 §5.1)."""
        form = await read_form(request)
        match form.get("grant_type"):
            case None:
                raise InvalidTokenRequestError
            case "refresh_token":
                return await self._refresh(request, form)
            case _:
                raise UnsupportedGrantTypeError

    async def _refresh(self, request: Request, form: dict[str, str]) -> Response:
        """RFC 6749 §6. The scope stays what the account has: a request for less is not served as more."""
        if "refresh_token" not in form:
            raise InvalidTokenRequestError
        client_id = form.get("client_id", FIRST_PARTY_CLIENT)
        issued = await self._sessions.refresh(form["refresh_token"], client_id, origin_of(request))
        return JSONResponse(token_document(issued))
