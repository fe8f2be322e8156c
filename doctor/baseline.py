"""The first request, a good token and two harmless headers: what it shows of the route, the echo and the gateway."""

from collections.abc import Iterator
from typing import Final

from doctor.echo import (
    IDENTITY,
    Echo,
    folded,
    generously_read,
    identity_headers,
    paths,
    shows,
    subject_shown,
    subjects,
)
from doctor.findings import Cause, Gateway
from doctor.messages import Answer, Outcome, Silence
from doctor.probes import Bench, Verdict
from shared.identity_headers import IDENTITY_HEADERS

CONTROL: Final = "good-token"
CONTROL_SENT: Final = "GET with a good token"
_EMPTY_WITHOUT: Final = {"X-Auth-Scope": "scope", "X-Auth-Roles": "roles", "X-Auth-Session": "sid"}
"""Claims without which a header is empty, and some gateways leave it out. Who shows the others shows it."""

_NAMED: Final[tuple[tuple[str, Gateway], ...]] = (
    ("istio", Gateway.ISTIO),
    ("envoy", Gateway.ENVOY),
    ("apisix", Gateway.APISIX),
    ("kong", Gateway.KONG),
    ("openresty", Gateway.NGINX),
    ("nginx", Gateway.NGINX),
    ("caddy", Gateway.CADDY),
    ("haproxy", Gateway.HAPROXY),
    ("traefik", Gateway.TRAEFIK),
)
"""What a Server field says, the more particular first."""


def learn(bench: Bench, outcome: Outcome) -> Echo:
    """What the route shows of what it got; nothing, unless the good token passed."""
    if isinstance(outcome, Silence) or not outcome.accepted:
        return Echo()
    identity = subject_shown(outcome, bench.credential.subject)
    shown = identity_headers(outcome) | ({"X-Auth-Subject"} if identity else set())
    wanted = generously_read(bench.target.path)
    everything = shows(outcome, bench.secret) or all(
        name in shown or _EMPTY_WITHOUT.get(name, "sub") not in bench.credential.claims for name in IDENTITY_HEADERS
    )
    return Echo(
        shown=frozenset(IDENTITY_HEADERS) if everything else shown,
        identity=identity,
        path=any(generously_read(path) == wanted for path in paths(outcome)),
    )


def gateway_of(outcome: Outcome) -> Gateway | None:
    """The gateway, if it says so; many say nothing, or what they are told to."""
    server = " ".join(outcome.values("server")).lower() if isinstance(outcome, Answer) else ""
    return next((gateway for name, gateway in _NAMED if name in server), None)


def control_verdicts(bench: Bench, outcome: Outcome, echo: Echo) -> Iterator[Verdict]:
    """Everything that the first answer tells."""
    if isinstance(outcome, Silence):
        yield Verdict(Cause.UNREACHABLE, outcome.how)
    elif outcome.status in (401, 403):
        yield Verdict(Cause.TOKEN_REFUSED, f"{outcome.status}: refused")
    elif not outcome.accepted or outcome.status == 101:  # noqa: PLR2004 - RFC 9110 §15.2.2
        yield Verdict(Cause.ROUTE_UNUSABLE, f"{outcome.status}")
    else:
        yield _identity(bench, outcome, echo)
        if any(folded(name) in IDENTITY for name, _ in outcome.fields):
            yield Verdict(Cause.IDENTITY_TOLD, f"{outcome.status}, with identity headers for the client")


def echo_verdicts(outcome: Outcome, echo: Echo) -> Iterator[Verdict]:
    """Whether spoofing can be seen at all."""
    if isinstance(outcome, Answer) and outcome.accepted:
        if not echo:
            yield Verdict(Cause.NO_ECHO, "nothing of what was sent is in the answer")
        elif missing := [name for name in IDENTITY_HEADERS if name not in echo.shown]:
            yield Verdict(Cause.PART_ECHO, f"it never shows {', '.join(missing)}")


def _identity(bench: Bench, answer: Answer, echo: Echo) -> Verdict:
    if echo.identity:
        return Verdict(None, f"{answer.status}, and the application was told the token's subject")
    told = [value for value in subjects(answer) if bench.secret not in value]
    if told:
        return Verdict(Cause.IDENTITY_WRONG, f"{answer.status}, and the application was told another subject")
    if echo:
        return Verdict(Cause.IDENTITY_ABSENT, f"{answer.status}, and the application was told no subject")
    return Verdict(None, f"{answer.status}")
