"""`GET /status-lists`, `GET /status-lists/{id}`: served from memory, so they need no database."""

import json
import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from issuer.errors import NotFoundError
from issuer.http.caching import cacheable_response
from issuer.status_lists.publisher import StatusListPublisher
from shared.status_list import STATUS_LIST_MEDIA_TYPE

_MAX_AGE_SECONDS: Final = 1
"""For caches between issuer and verifiers, which delay every revocation by up to this time."""

_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class StatusListRoutes:
    """The status list endpoints."""

    def __init__(self, publisher: StatusListPublisher) -> None:
        self._publisher = publisher

    def routes(self) -> list[Route]:
        """Return the routes of the application."""
        return [
            Route("/status-lists", self.aggregation, methods=["GET"]),
            Route("/status-lists/{id}", self.status_list, methods=["GET"]),
        ]

    async def aggregation(self, request: Request) -> Response:
        """Respond 200 with the URIs of all lists (draft-ietf-oauth-status-list-20 §9.3)."""
        document = json.dumps({"status_lists": self._publisher.uris()}).encode()
        return cacheable_response(request, document, "application/json", _MAX_AGE_SECONDS)

    async def status_list(self, request: Request) -> Response:
        """Respond 200 with one signed list (§8.1)."""
        text = request.path_params["id"]
        token = self._publisher.token(int(text)) if _ID.fullmatch(text) else None
        if token is None:
            raise NotFoundError
        return cacheable_response(request, token, STATUS_LIST_MEDIA_TYPE, _MAX_AGE_SECONDS)
