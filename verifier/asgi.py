"""ASGI middleware that verifies the access token of every request inside an application, without a gateway.

It decides as the verifier does behind a gateway: by the same `VERIFIER_…` settings, policies, keys and status lists,
which are refreshed in the background. It removes identity headers that a client sent, and adds those of the token, so
the application reads the same headers as behind a gateway. It imports no framework.
"""

import os
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from shared.same_origin import BrowserFields
from verifier.core import VerifierCore
from verifier.policy_file import DEFAULT_POLICY, PolicyError
from verifier.settings import VerifierSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Fields = list[tuple[bytes, bytes]]

_POLICY_VIOLATION: Final = 1008
"""The code to close a WebSocket with (RFC 6455 §7.4.1), where the server cannot send another response."""

# Applications may read `_` and other characters as `-` (CGI, RFC 3875 §4.1.18).
_is_identity: Final = re.compile(rb"x[^a-z0-9]auth[^a-z0-9]", re.IGNORECASE).match


class TokenMiddleware:
    """Middleware that lets a request pass only with a valid access token that meets the demands of a policy.

    All middlewares of a process share their keys, status lists and cache. Settings are read when the first is made;
    the policy file is not read again.

    Args:
        app: the application to protect.
        policy: the name of the policy.
        public: paths that need no token, compared exactly; the application gets no identity there.

    Raises:
        ConfigurationError: a setting or the policy file is invalid.
    """

    def __init__(self, app: Application, policy: str = DEFAULT_POLICY, *, public: Collection[str] = ()) -> None:
        self._app, self._core = app, _core()
        policies = self._core.configuration.policies
        if policy not in policies:
            raise PolicyError(f"no policy {policy}: there are {', '.join(sorted(policies))}")
        self._target = f"/verify/{policy}".encode()
        self._public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or reject it."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError(f"no token can be verified in {scope['type']!r}")
        identity: Fields = []
        if _path(scope) not in self._public:
            # Not every server or application has a lifespan. Without one the first request starts the core.
            await self._core.start()
            status, fields = self._decide(scope)
            if status is not HTTPStatus.OK:
                await _reject(status, fields, scope, send)
                return
            identity = [field for field in fields if _is_identity(field[0])]
        others = [(name, value) for name, value in scope["headers"] if not _is_identity(name)]
        await self._app({**scope, "headers": others + identity}, receive, send)

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._core.start()
        try:
            await self._app(scope, receive, send)
        finally:
            self._core.stop()

    def _decide(self, scope: Scope) -> tuple[HTTPStatus, Fields]:
        sent: dict[bytes, list[bytes]] = defaultdict(list)
        for name, value in scope["headers"]:
            sent[name.lower()].append(value)
        is_websocket = scope["type"] == "websocket"
        browser = BrowserFields(
            method=b"GET" if is_websocket else scope["method"].encode(),
            site=_joined(sent[b"sec-fetch-site"]),
            origin=_joined(sent[b"origin"]),
            # The server says whether this is a handshake, so a client cannot hide that by leaving out the field.
            websocket_version=b"13" if is_websocket else _joined(sent[b"sec-websocket-version"]),
            cookies=_joined(sent[b"cookie"], b"; "),
        )
        response = self._core.authorizer.authorize(
            self._target,
            # Two fields are one list (RFC 9110 §5.3), which is never a valid bearer token.
            b", ".join(sent[b"authorization"]),
            _only(sent[b"x-request-id"]),
            _only(sent[b"traceparent"]),
            browser,
        )
        return _parse(response)


@cache
def _core() -> VerifierCore:
    settings = VerifierSettings.from_environment(os.environ)
    return VerifierCore(settings, settings.load_configuration())


def _path(scope: Scope) -> str:
    """Return the path as the application's routes see it: without the prefix at which the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _joined(values: Iterable[bytes], separator: bytes = b", ") -> bytes | None:
    """Join the values that are not empty; None if there is none. Except for cookies, joined values are invalid."""
    return separator.join(filter(None, values)) or None


def _only(values: list[bytes]) -> bytes | None:
    """Return the only value, None if there is none, or an empty one, which is invalid, if there are several."""
    if not values:
        return None
    return values[0] if len(values) == 1 else b""


def _parse(response: bytes) -> tuple[HTTPStatus, Fields]:
    """Return status and header fields of a response of the authorizer, which has no body."""
    status_line, *lines = response.removesuffix(b"\r\n\r\n").split(b"\r\n")
    fields = [line.partition(b": ") for line in lines]
    return HTTPStatus(int(status_line.split(b" ")[1])), [(name.lower(), value) for name, _, value in fields]


async def _reject(status: HTTPStatus, fields: Fields, scope: Scope, send: Send) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            # The server then responds to the handshake with 403.
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": status.value, "headers": fields})
    await send({"type": f"{kind}.body", "body": b""})
