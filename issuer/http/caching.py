"""Public documents that clients may cache."""

import hashlib
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response


def cacheable_response(request: Request, document: bytes, media_type: str, max_age: int) -> Response:
    """Respond 200, or 304 if the client has the document (RFC 9110 §13.1.2). `max_age` is in seconds."""
    request.state.public_document = True
    etag, full, not_modified = _responses(document, media_type, max_age)
    known = b",".join(value for name, value in request.scope["headers"] if name == b"if-none-match").decode("latin-1")
    if known and (known.strip() == "*" or etag in (tag.strip().removeprefix("W/") for tag in known.split(","))):
        return not_modified
    return full


@lru_cache(maxsize=16)
def _responses(document: bytes, media_type: str, max_age: int) -> tuple[str, Response, Response]:
    """Hash a document once and not for each poll: a status list may have 130 KB. The responses have no state."""
    etag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    fields = {"ETag": etag, "Cache-Control": f"public, max-age={max_age}"}
    return etag, Response(document, headers=fields, media_type=media_type), Response(status_code=304, headers=fields)
