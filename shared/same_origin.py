"""The same-origin rule: checks that a page of the application itself caused a request of a browser. Pure.

A browser also adds a cookie to requests that other pages cause (cross-site request forgery, CSRF). So a token in a
cookie is accepted only by this rule. In `Sec-Fetch-Site` (Fetch Metadata) and `Origin` browsers say which page caused
a request. No script can set these.
"""

from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD"})


class BrowserFields(NamedTuple):
    """Header fields of the client's request, as the gateway passed them on; None if absent.

    Attributes:
        method: of the client's request; None never counts as a safe method.
        site: `Sec-Fetch-Site`.
        origin: `Origin`.
        websocket_version: `Sec-WebSocket-Version`, which every WebSocket handshake has (RFC 6455 §4.1, RFC 8441 §5).
        cookies: `Cookie`.
    """

    method: bytes | None = None
    site: bytes | None = None
    origin: bytes | None = None
    websocket_version: bytes | None = None
    cookies: bytes | None = None


def is_same_origin(request: BrowserFields, origins: AbstractSet[bytes]) -> bool:
    """Return whether a page of one of `origins`, or the user, caused the request."""
    if request.websocket_version is not None:
        # CORS does not apply to handshakes, and not every browser sends Fetch Metadata with them (RFC 6455 §10.2).
        return request.origin in origins and request.site in {None, b"same-origin"}
    if request.site == b"same-origin":
        return True
    is_safe = request.method in _SAFE_METHODS
    if request.site == b"none":
        # A navigation that the user caused: an address typed, a bookmark. No page can cause it (Fetch Metadata §2.3).
        return is_safe
    if request.site is not None:
        return False
    # Browsers before 2023. They send `Origin` with every method but GET and HEAD.
    return request.origin in origins or (is_safe and request.origin is None)
