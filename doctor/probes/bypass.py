"""Ways around the check: tunnels through the gateway, and the verifier's own endpoints."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from doctor.echo import has_identity_fields
from doctor.findings import Issue
from doctor.messages import Response
from doctor.probe import Probe, ProbeContext, Result, rejected

_WEBSOCKET: Final = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: Z2F0ZXBhc3MtZG9jdG9yIQ==")
_H2C: Final = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
_H2C_CONNECTION: Final = "Upgrade, HTTP2-Settings"
_ADMIN_PATHS: Final = ("/healthz", "/readyz", "/metrics")
_ADMIN_BODY: Final = re.compile(rb"(not )?(healthy|ready)([:;] .*)?\n")
"""The bodies of the verifier's `/healthz` and `/readyz`."""


def tunnels(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes that open a tunnel without a token."""
    websocket = context.request(*_WEBSOCKET, connection="Upgrade")
    yield Probe("websocket-without-token", "a WebSocket handshake without a token", websocket, rejected())
    h2c = context.request(*_H2C, connection=_H2C_CONNECTION)
    yield Probe("h2c-without-token", "`Upgrade: h2c` without a token", h2c, rejected())


def verifier_endpoints(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes of the verifier's endpoints without a token."""
    for path in _ADMIN_PATHS:
        sent = f"{path} without a token"
        yield Probe(f"{path[1:]}-without-token", sent, context.request(path=path), _not_the_verifier)


def bypass_with_token(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes of tunnels and of the verifier's endpoints with a valid token."""
    h2c = context.request(*_H2C, context.authorization, connection=_H2C_CONNECTION)
    yield Probe("h2c", "`Upgrade: h2c` with a valid token", h2c, _no_tunnel)
    for path in ("/verify", *_ADMIN_PATHS):
        sent = f"{path} with a valid token"
        yield Probe(path[1:], sent, context.request(context.authorization, path=path), _not_the_verifier)


def _no_tunnel(response: Response) -> Result:
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return Result(Issue.TUNNEL_OPENED, "101: a tunnel")
    return Result(None, f"{response.status}: no tunnel")


def _not_the_verifier(response: Response) -> Result:
    is_subrequest_response = response.accepted and not response.body and has_identity_fields(response)
    is_admin_response = bool(_ADMIN_BODY.fullmatch(response.body)) or b"gatepass_verifier_" in response.body
    if is_subrequest_response or is_admin_response:
        return Result(Issue.VERIFIER_EXPOSED, f"{response.status}, from the verifier")
    return Result(None, f"{response.status}, not from the verifier")
