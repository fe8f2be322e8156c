"""Public documents that clients may cache."""

import hashlib
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response


def cached(request: Request, document: bytes, media_type: str, max_age: int) -> Response:
    """200, or 304 where the asker has it already (RFC 9110 §13.1.2). `max_age` is in seconds."""
    request.state.public_document = True
    etag = _etag(document)
    fields = {"ETag": etag, "Cache-Control": f"public, max-age={max_age}"}
    known = ",".join(request.headers.getlist("if-none-match"))
    if known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=fields)
    return Response(document, headers=fields, media_type=media_type)


@lru_cache(maxsize=8)
def _etag(document: bytes) -> str:
    """Hash a document once and not for each poll: a status list may have 130 KB."""
    return f'"{hashlib.sha256(document).hexdigest()[:32]}"'
