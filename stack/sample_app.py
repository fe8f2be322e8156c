"""The sample application behind the gateway: echoes the identity headers that it receives, as JSON.

Like any protected application it trusts the identity headers and checks nothing itself, so it must be reachable
only through the gateway.
"""

import hashlib
import json
import os
from typing import Any

import uvicorn

_IDENTITY_PREFIX = b"x-auth-"
_TO_HYPHEN = bytes.maketrans(b"_.", b"--")


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echo method, path, identity headers and body size of a request (a plain ASGI application)."""
    if scope["type"] != "http":
        return
    size, digest = 0, hashlib.sha256()
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        digest.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    content = {
        "method": scope["method"],
        "path": scope["raw_path"].decode("latin-1"),
        "identity": _identity(scope["headers"]),
        "body": {"bytes": size, "sha256": digest.hexdigest()},
    }
    body = json.dumps(content, indent=2).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _identity(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers that an application may read as identity headers: CGI reads `_` as `-`, PHP also `.`."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name.translate(_TO_HYPHEN).startswith(_IDENTITY_PREFIX):
            found.setdefault(name.decode("latin-1").title(), []).append(value.decode("latin-1"))
    return {name: ", ".join(values) for name, values in found.items()}


if __name__ == "__main__":
    uvicorn.run(application, host="127.0.0.1", port=int(os.environ["APPLICATION_PORT"]), log_level="warning")
