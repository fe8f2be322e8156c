"""An application that verifies tokens itself and echoes what it receives. `/verify/<policy>` requires that policy."""

import json
import os
import tomllib
from pathlib import Path

from verifier.asgi import Receive, Scope, Send, TokenMiddleware


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo every request and accept every WebSocket."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    identity = [(name, value) for name, value in scope["headers"] if name.startswith(b"x-auth-")]
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": identity})
        return
    body = json.dumps([(name.decode(), value.decode("latin-1")) for name, value in scope["headers"]]).encode()
    headers = [*identity, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_file = os.environ.get("VERIFIER_POLICIES_FILE")
_named = tomllib.loads(Path(_file).read_text(encoding="utf-8")).get("policies", {}) if _file else {}
_default = TokenMiddleware(echo, public=["/public"])
_by_path = {f"/verify/{name}": TokenMiddleware(echo, name) for name in _named}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Choose the policy by path, like an application that mounts others."""
    await _by_path.get(scope.get("path", ""), _default)(scope, receive, send)
