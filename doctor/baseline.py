"""The first request, with a valid token and two canary headers. It shows whether route, echo and token are usable."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from doctor.echo import (
    Echo,
    contains,
    has_identity_fields,
    identity_headers,
    names_shown,
    normalize_leniently,
    paths,
    subject_shown,
    subjects,
)
from doctor.findings import Gateway, Issue
from doctor.messages import NoResponse, Outcome, Response
from doctor.probe import ProbeContext, Result
from shared.identity_headers import IDENTITY_HEADERS

BASELINE: Final = "valid-token"
BASELINE_SENT: Final = "GET with a valid token"
# Without the claim the header is empty, and some gateways omit it. An echo that shows all the others is complete.
_OPTIONAL_CLAIMS: Final = {"X-Auth-Scope": "scope", "X-Auth-Roles": "roles", "X-Auth-Session": "sid"}

# Gateways that the Server field can name, the more specific names first.
_SERVER_NAMES: Final = ("istio", "envoy", "apisix", "kong", "nginx", "caddy", "haproxy", "traefik")


def detect_echo(context: ProbeContext, outcome: Outcome) -> Echo:
    """Return the parts of a request that the route shows. An empty echo if the valid token was rejected."""
    if isinstance(outcome, NoResponse) or not outcome.accepted:
        return Echo()
    identity = subject_shown(outcome, context.token.subject)
    shown = identity_headers(outcome) | ({"X-Auth-Subject"} if identity else set())
    expected_path = normalize_leniently(context.target.path)
    shows_canary = contains(outcome, context.canary)
    shows_all = shows_canary or all(
        name in shown or _OPTIONAL_CLAIMS.get(name, "sub") not in context.token.claims for name in IDENTITY_HEADERS
    )
    # It is not known whether the token has the claims of additional headers.
    additional = context.claim_headers if shows_canary else names_shown(outcome, context.claim_headers)
    return Echo(
        shown=(frozenset(IDENTITY_HEADERS) if shows_all else shown).union(additional),
        identity=identity,
        path=any(normalize_leniently(path) == expected_path for path in paths(outcome)),
    )


def detect_gateway(outcome: Outcome) -> Gateway | None:
    """Return the gateway that the `Server` field names, if any. Operators can hide or change it."""
    server = " ".join(outcome.values("server")).lower() if isinstance(outcome, Response) else ""
    server = server.replace("openresty", "nginx")
    return next((Gateway(name) for name in _SERVER_NAMES if name in server), None)


def baseline_results(context: ProbeContext, outcome: Outcome) -> Iterator[tuple[str, Result]]:
    """Yield what the first response shows of gateway, route, token and echo: names of probes with their results."""
    if isinstance(outcome, NoResponse):
        yield BASELINE, Result(Issue.UNREACHABLE, outcome.detail)
        return
    if outcome.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        yield BASELINE, Result(Issue.TOKEN_REJECTED, f"{outcome.status}: rejected")
    elif not outcome.accepted or outcome.status == HTTPStatus.SWITCHING_PROTOCOLS:
        yield BASELINE, Result(Issue.UNSUITABLE_ROUTE, f"{outcome.status}")
    else:
        yield BASELINE, _check_identity(context, outcome)
        if has_identity_fields(outcome):
            yield (
                BASELINE,
                Result(Issue.IDENTITY_DISCLOSED, f"{outcome.status}, with identity headers in the response"),
            )
    if not outcome.accepted:
        return
    if not context.echo:
        yield "echo", Result(Issue.NO_ECHO, "the response shows nothing of the request")
    elif missing := [name for name in context.identity_headers if name not in context.echo.shown]:
        yield "echo", Result(Issue.PARTIAL_ECHO, f"the response never shows {', '.join(missing)}")


def _check_identity(context: ProbeContext, response: Response) -> Result:
    if context.echo.identity:
        return Result(None, f"{response.status}, the application received the token's subject")
    if any(context.canary not in subject for subject in subjects(response)):
        return Result(Issue.WRONG_IDENTITY, f"{response.status}, the application received another subject")
    if context.echo:
        return Result(Issue.MISSING_IDENTITY, f"{response.status}, the application received no subject")
    return Result(None, f"{response.status}")
