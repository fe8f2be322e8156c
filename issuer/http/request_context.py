"""Where a request comes from, for sessions, throttles and the audit trail."""

from typing import Final

from starlette.requests import Request

from issuer.audit.events import Origin

_MAX_USER_AGENT_BYTES: Final = 512


def origin_of(request: Request, actor: str = "self") -> Origin:
    """The origin of `request`."""
    agent = request.headers.get("user-agent", "").encode()[:_MAX_USER_AGENT_BYTES].decode(errors="ignore")
    return Origin(
        actor,
        address=request.state.client_address,
        user_agent=agent or None,
        request_id=request.state.request_id,
        has_left=request.state.has_left,
    )
