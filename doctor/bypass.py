"""Ways around the check: tunnels, and the verifier's own pages."""

from collections.abc import Iterator
from typing import Final

from doctor.checks import refused
from doctor.echo import IDENTITY, Echo, folded
from doctor.findings import Cause
from doctor.messages import Answer
from doctor.probes import Bench, Probe, Verdict

_WEBSOCKET: Final = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: Z2F0ZXBhc3MtZG9jdG9yIQ==")
_H2C: Final = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
_H2C_CONNECTION: Final = "Upgrade, HTTP2-Settings"
_ADMIN_PAGES: Final = ("/healthz", "/readyz", "/metrics")
_ADMIN_BODIES: Final = (b"alive\n", b"ready\n")


def tunnels(bench: Bench) -> Iterator[Probe]:
    """The tunnels of a client without a token."""
    websocket = bench.request(*_WEBSOCKET, connection="Upgrade")
    yield Probe("websocket-without-token", "a websocket handshake without a token", websocket, refused())
    h2c = bench.request(*_H2C, connection=_H2C_CONNECTION)
    yield Probe("h2c-without-token", "`Upgrade: h2c` without a token", h2c, refused())


def own_pages(bench: Bench) -> Iterator[Probe]:
    """The verifier's pages, as a client without a token asks for them."""
    for path in _ADMIN_PAGES:
        sent = f"{path} without a token"
        yield Probe(f"{path[1:]}-without-token", sent, bench.request(path=path), _not_the_verifier)


def detours_with_token(bench: Bench) -> Iterator[Probe]:
    """The detours of a client whose token is good."""
    h2c = bench.request(*_H2C, bench.good, connection=_H2C_CONNECTION)
    yield Probe("h2c", "`Upgrade: h2c` with a good token", h2c, _no_tunnel)
    for path in ("/verify", *_ADMIN_PAGES):
        sent = f"{path} with a good token"
        yield Probe(path[1:], sent, bench.request(bench.good, path=path), _not_the_verifier)


def _no_tunnel(answer: Answer, echo: Echo) -> Verdict:
    del echo
    if answer.status == 101:  # noqa: PLR2004 - RFC 9110 §15.2.2
        return Verdict(Cause.TUNNEL, "101: a tunnel")
    return Verdict(None, f"{answer.status}: no tunnel")


def _not_the_verifier(answer: Answer, echo: Echo) -> Verdict:
    del echo
    told = answer.accepted and not answer.body and any(folded(name) in IDENTITY for name, _ in answer.fields)
    admin = answer.body in _ADMIN_BODIES or b"gatepass_verifier_" in answer.body
    if told or admin:
        return Verdict(Cause.VERIFIER_REACHED, f"{answer.status}, from the verifier")
    return Verdict(None, f"{answer.status}, not from the verifier")
