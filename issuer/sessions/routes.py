"""`POST /logout`, `GET /sessions`, `DELETE /sessions`, `DELETE /sessions/{id}`: the owner's devices."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.audit.events import EndReason
from issuer.errors import FieldFault, InvalidFieldsError, NoSuchResourceError
from issuer.http.request_context import request_context
from issuer.sessions.models import Position, Session
from issuer.sessions.service import Sessions
from issuer.tokens.access_token import AccessTokens
from issuer.tokens.bearer import owner_of

_MAX_PAGE: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}")
_MICROSECONDS: Final = re.compile(r"[0-9]{1,17}")
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SessionRoutes:
    """The session endpoints, over the use cases they speak for."""

    def __init__(self, sessions: Sessions, tokens: AccessTokens) -> None:
        self._sessions = sessions
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """For the application."""
        return [
            Route("/logout", self.logout, methods=["POST"]),
            Route("/sessions", self.list, methods=["GET"]),
            Route("/sessions", self.end_all, methods=["DELETE"]),
            Route("/sessions/{id}", self.end, methods=["DELETE"]),
        ]

    async def logout(self, request: Request) -> Response:
        """204: the session of the token has ended, now or before."""
        owner = await owner_of(request, self._tokens)
        await self._sessions.end(owner.session_id, owner.user_id, EndReason.LOGOUT, request_context(request))
        return Response(status_code=204)

    async def list(self, request: Request) -> Response:
        """200 and a page of the live sessions, newest first."""
        owner = await owner_of(request, self._tokens)
        after, limit = _page(request)
        await self._sessions.require_live(owner.session_id, owner.user_id)
        # One more than asked for, to know whether there is another page.
        found = await self._sessions.list_of(owner.user_id, after, limit + 1)
        page = found[:limit]
        return JSONResponse(
            {
                "sessions": [_document(session, owner.session_id) for session in page],
                "next": _cursor(page[-1]) if len(found) > limit else None,
            }
        )

    async def end(self, request: Request) -> Response:
        """204: that session has ended. One that is unknown, somebody else's or ended is not found."""
        owner = await owner_of(request, self._tokens)
        await self._sessions.require_live(owner.session_id, owner.user_id)
        session_id = _read_id(request.path_params["id"])
        if not await self._sessions.end(
            session_id, owner.user_id, EndReason.ENDED_BY_OWNER, request_context(request)
        ):
            raise NoSuchResourceError
        return Response(status_code=204)

    async def end_all(self, request: Request) -> Response:
        """204: all sessions have ended, that of the token too unless it is spared."""
        owner = await owner_of(request, self._tokens)
        await self._sessions.require_live(owner.session_id, owner.user_id)
        spared = owner.session_id if _spares_current(request) else None
        await self._sessions.end_all(owner.user_id, EndReason.ENDED_BY_OWNER, request_context(request), spared)
        return Response(status_code=204)


def _page(request: Request) -> tuple[Position | None, int]:
    """Return the session after which to begin, and how many to list."""
    query = dict(request.query_params.multi_items())
    if len(query) != len(request.query_params.multi_items()) or not query.keys() <= {"after", "limit"}:
        raise InvalidFieldsError(FieldFault("limit", "can be given once, and so can `after`; there is no other"))
    limit = query.get("limit", str(_MAX_PAGE))
    if not _LIMIT.fullmatch(limit) or int(limit) > _MAX_PAGE:
        raise InvalidFieldsError(FieldFault("limit", f"must be a number from 1 to {_MAX_PAGE}"))
    return (_position(query["after"]) if "after" in query else None), int(limit)


def _cursor(session: Session) -> str:
    """Return the position of a session as an opaque string. It tells nothing that the session does not."""
    return f"{(session.created_at - _EPOCH) // timedelta(microseconds=1)}.{session.id}"


def _position(cursor: str) -> Position:
    when, _, session_id = cursor.partition(".")
    if not _MICROSECONDS.fullmatch(when) or not _ID.fullmatch(session_id):
        raise InvalidFieldsError(FieldFault("after", "must be the `next` of an earlier page"))
    return Position(_EPOCH + timedelta(microseconds=int(when)), UUID(session_id))


def _spares_current(request: Request) -> bool:
    """Whether the query is `spare=current`. A query that was misread would end too much or too little."""
    query = request.query_params.multi_items()
    if query not in ([], [("spare", "current")]):
        raise InvalidFieldsError(FieldFault("spare", "is the one parameter, and can only be `current`"))
    return bool(query)


def _read_id(text: str) -> UUID:
    """An id in the spelling that we give out; any other names nothing."""
    if not _ID.fullmatch(text):
        raise NoSuchResourceError
    return UUID(text)


def _document(session: Session, present: UUID) -> dict[str, str | bool | None]:
    return {
        "id": str(session.id),
        "created_at": _moment(session.created_at),
        "last_used_at": _moment(session.last_used_at),
        "expires_at": _moment(session.expires_at),
        "address": session.address,
        "user_agent": session.user_agent,
        "current": session.id == present,
    }


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
