"""`POST /logout`, `GET /sessions`, `DELETE /sessions`, `DELETE /sessions/{id}`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.audit.events import RevocationReason
from issuer.errors import FieldFault, InvalidFieldsError, InvalidTokenError, NotFoundError
from issuer.http.problems import problem_response
from issuer.http.request_context import request_context
from issuer.sessions.cookies import SessionCookies
from issuer.sessions.models import Position, Session
from issuer.sessions.service import SessionService
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.bearer import authenticate

_MAX_PAGE: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}")
_MICROSECONDS: Final = re.compile(r"[0-9]{1,17}")
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SessionRoutes:
    """The session endpoints."""

    def __init__(self, sessions: SessionService, tokens: AccessTokens, cookies: SessionCookies) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._cookies = cookies

    def routes(self) -> list[Route]:
        """Return the routes of the application."""
        return [
            Route("/logout", self.logout, methods=["POST"]),
            Route("/sessions", self.list, methods=["GET"]),
            Route("/sessions", self.revoke_all, methods=["DELETE"]),
            Route("/sessions/{id}", self.revoke, methods=["DELETE"]),
        ]

    async def logout(self, request: Request) -> Response:
        """Respond 204 when the session of the token is revoked, or was revoked before."""
        refresh_token = self._cookies.refresh_token(request)
        if refresh_token is not None:
            return await self._log_out_cookie(request, refresh_token)
        principal = authenticate(request, self._tokens)
        await self._sessions.revoke(
            principal.session_id, principal.user_id, RevocationReason.LOGOUT, request_context(request)
        )
        return Response(status_code=204)

    async def _log_out_cookie(self, request: Request, refresh_token: str) -> Response:
        """Log out by the refresh token, since the access token may have expired, and delete the cookies."""
        if "authorization" in request.headers:
            raise InvalidTokenError
        presented = self._sessions.read_refresh_token(refresh_token)
        if presented is None:
            return self._cookies.clear(problem_response(InvalidTokenError()))
        await self._sessions.revoke(presented.session_id, None, RevocationReason.LOGOUT, request_context(request))
        return self._cookies.clear(Response(status_code=204))

    async def list(self, request: Request) -> Response:
        """Respond 200 with a page of the live sessions, newest first."""
        principal = authenticate(request, self._tokens)
        after, limit = _page(request)
        await self._sessions.require_live(principal.session_id, principal.user_id)
        # Fetch one more than requested, to know whether there is another page.
        found = await self._sessions.list_for_user(principal.user_id, after, limit + 1)
        page = found[:limit]
        return JSONResponse(
            {
                "sessions": [_document(session, principal.session_id) for session in page],
                "next": _cursor(page[-1]) if len(found) > limit else None,
            }
        )

    async def revoke(self, request: Request) -> Response:
        """Respond 204 when the session is revoked; 404 if it was revoked before, is unknown or of another account."""
        principal = authenticate(request, self._tokens)
        await self._sessions.require_live(principal.session_id, principal.user_id)
        session_id = _read_id(request.path_params["id"])
        if not await self._sessions.revoke(
            session_id, principal.user_id, RevocationReason.REVOKED_BY_USER, request_context(request)
        ):
            raise NotFoundError
        return Response(status_code=204)

    async def revoke_all(self, request: Request) -> Response:
        """Respond 204 when all sessions are revoked, except the current one if `keep_current=true`."""
        principal = authenticate(request, self._tokens)
        await self._sessions.require_live(principal.session_id, principal.user_id)
        except_session = principal.session_id if _keeps_current(request) else None
        await self._sessions.revoke_all(
            principal.user_id, RevocationReason.REVOKED_BY_USER, request_context(request), except_session
        )
        return Response(status_code=204)


def _page(request: Request) -> tuple[Position | None, int]:
    """Return the position after which the page starts, and its size."""
    query = dict(request.query_params.multi_items())
    if len(query) != len(request.query_params.multi_items()) or not query.keys() <= {"after", "limit"}:
        raise InvalidFieldsError(
            FieldFault("limit", "and `after` may each be given once; other parameters are not supported")
        )
    limit = query.get("limit", str(_MAX_PAGE))
    if not _LIMIT.fullmatch(limit) or int(limit) > _MAX_PAGE:
        raise InvalidFieldsError(FieldFault("limit", f"must be a number from 1 to {_MAX_PAGE}"))
    return (_position(query["after"]) if "after" in query else None), int(limit)


def _cursor(session: Session) -> str:
    """Return the position of a session as an opaque string."""
    return f"{(session.created_at - _EPOCH) // timedelta(microseconds=1)}.{session.id}"


def _position(cursor: str) -> Position:
    microseconds, _, session_id = cursor.partition(".")
    if not _MICROSECONDS.fullmatch(microseconds) or not _ID.fullmatch(session_id):
        raise InvalidFieldsError(FieldFault("after", "must be the `next` of an earlier page"))
    return Position(_EPOCH + timedelta(microseconds=int(microseconds)), UUID(session_id))


def _keeps_current(request: Request) -> bool:
    """Return whether the query is `keep_current=true`, and reject any other query."""
    query = request.query_params.multi_items()
    if query not in ([], [("keep_current", "true")]):
        raise InvalidFieldsError(FieldFault("keep_current", "must be `true`; other parameters are not supported"))
    return bool(query)


def _read_id(text: str) -> UUID:
    """Parse an id in its canonical spelling. Any other spelling gets 404."""
    if not _ID.fullmatch(text):
        raise NotFoundError
    return UUID(text)


def _document(session: Session, current: UUID) -> dict[str, str | bool | None]:
    return {
        "id": str(session.id),
        "created_at": _format_time(session.created_at),
        "last_used_at": _format_time(session.last_used_at),
        "expires_at": _format_time(session.expires_at),
        "ip_address": session.ip_address,
        "user_agent": session.user_agent,
        "current": session.id == current,
    }


def _format_time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
