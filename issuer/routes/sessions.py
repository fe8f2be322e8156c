"""`POST /logout`, `GET /sessions`, `DELETE /sessions`, `DELETE /sessions/{id}`: the owner's devices."""

import re
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from issuer.audit import EndReason
from issuer.errors import NoSuchResourceError
from issuer.routes.bearer import owner_of
from issuer.routes.origin import origin_of
from issuer.sessions import Session, Sessions
from issuer.tokens import AccessTokens

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
        await self._sessions.end(owner.session_id, owner.user_id, EndReason.LOGOUT, origin_of(request))
        return Response(status_code=204)

    async def list(self, request: Request) -> Response:
        """200 and the live sessions, newest first."""
        owner = await owner_of(request, self._tokens)
        await self._sessions.require_live(owner.session_id, owner.user_id)
        found = await self._sessions.list_of(owner.user_id)
        return JSONResponse({"sessions": [_document(session, owner.session_id) for session in found]})

    async def end(self, request: Request) -> Response:
        """204: that session has ended. One that is unknown, somebody else's or ended is not found."""
        owner = await owner_of(request, self._tokens)
        await self._sessions.require_live(owner.session_id, owner.user_id)
        session_id = _read_id(request.path_params["id"])
        if not await self._sessions.end(session_id, owner.user_id, EndReason.ENDED_BY_OWNER, origin_of(request)):
            raise NoSuchResourceError
        return Response(status_code=204)

    async def end_all(self, request: Request) -> Response:
        """204: all sessions have ended, that of the token too."""
        owner = await owner_of(request, self._tokens)
        await self._sessions.require_live(owner.session_id, owner.user_id)
        await self._sessions.end_all(owner.user_id, EndReason.ENDED_BY_OWNER, origin_of(request))
        return Response(status_code=204)


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
