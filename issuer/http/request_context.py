"""Builds the context of an HTTP request, for sessions, rate limits and the audit trail."""

from typing import Final

from starlette.requests import Request

from issuer.context import RequestContext

_MAX_USER_AGENT_BYTES: Final = 512


def request_context(request: Request) -> RequestContext:
    """Return the context of `request`."""
    agent = request.headers.get("user-agent", "").encode()[:_MAX_USER_AGENT_BYTES].decode(errors="ignore")
    return RequestContext(
        "self",
        ip_address=request.state.client_ip,
        user_agent=agent or None,
        request_id=request.state.request_id,
        is_disconnected=request.state.is_disconnected,
    )
