"""Requests without a valid token. None may reach the application, whatever else they contain."""

from collections.abc import Iterator
from typing import Final

from doctor.findings import Issue
from doctor.messages import Response
from doctor.probe import Check, Probe, ProbeContext, Result, bearer, preflight_rejected, rejected
from doctor.probes.path_confusion import path_variants

FOREIGN_HOST: Final = "gatepass-doctor.invalid"
"""A host name that cannot exist (RFC 2606 §2). It is sent to the gateway and never resolved."""

_UNAUTHENTICATED_VARIANTS: Final = {"double-slash", "encoded-slash", "parameter", "encoded-letter", "absolute-form"}
_REWRITE_HEADERS: Final = (
    "X-Forwarded-Uri: /healthz",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-URL: /healthz",
    "X-Original-URI: /healthz",
    "X-Original-Method: OPTIONS",
    "X-Rewrite-URL: /healthz",
)


def no_token(context: ProbeContext) -> Probe:
    """Return the probe of the test route without a token."""
    return Probe("no-token", "GET without a token", context.request(), rejected(exactly_401=True))


def unauthenticated(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes of a route that rejects requests without a token."""
    yield from _misplaced_credentials(context)
    yield from _other_methods(context)
    yield from _other_routes(context)


def invalid_tokens(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes with tokens that must be rejected even on a route that requires none."""
    token = context.token
    for name, sent, invalid in (
        ("malformed-token", "a malformed token", b"not.a.token"),
        ("tampered-token", "the token with another subject and the original signature", token.tampered()),
        ("expired-token", "the token with an expiry in the past and the original signature", token.expired()),
        ("unsigned-token", "the token with `alg` none and no signature", token.unsigned()),
        ("signature-stripped-token", "the token without its signature", token.signature_stripped()),
    ):
        yield Probe(name, sent, context.request(bearer(invalid)), rejected(exactly_401=True))


def _misplaced_credentials(context: ProbeContext) -> Iterator[Probe]:
    """Yield probes with a valid token, or an identity, in a place where it must be ignored."""
    token = context.token.compact.decode("ascii")
    query = context.request(path=f"{context.target.path}?access_token={token}")
    yield Probe(
        "token-in-query",
        "a valid token in the query only",
        query,
        rejected(Issue.TOKEN_IN_QUERY, exactly_401=True),
    )
    trailer = context.request(
        "Transfer-Encoding: chunked",
        "Trailer: Authorization",
        method="POST",
        body=f"0\r\n{context.authorization}\r\n\r\n".encode("ascii"),
    )
    yield Probe(
        "token-in-trailer",
        "a valid token in the trailer only",
        trailer,
        rejected(Issue.TRAILER_FORWARDED),
        malformed=True,
    )
    spoofed = context.request(*(f"{name}: {context.canary_for(name)}" for name in context.identity_headers))
    # A gateway may also reject such a request for its headers, with another status.
    yield Probe("spoofed-without-token", "all identity headers and no token", spoofed, rejected())
    yield Probe(
        "forwarded",
        "no token, and headers that name another path and method",
        context.request(*_REWRITE_HEADERS),
        rejected(exactly_401=True),
    )
    agent = context.request("User-Agent: kube-probe/1.32")
    yield Probe("health-agent", "no token, and the User-Agent of a health check", agent, rejected(exactly_401=True))


def _other_methods(context: ProbeContext) -> Iterator[Probe]:
    yield Probe("head", "HEAD without a token", context.request(method="HEAD"), rejected(exactly_401=True))
    options = context.request(*context.canary_headers, method="OPTIONS")
    yield Probe("options", "OPTIONS without a token", options, preflight_rejected(context, context.target.path))
    origin = f"https://{FOREIGN_HOST}"
    preflight = context.request(
        f"Origin: {origin}",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization",
        *context.canary_headers,
        method="OPTIONS",
    )
    sent = "a CORS preflight of an unknown origin"
    yield Probe("preflight", sent, preflight, _foreign_preflight_rejected(context, origin))
    override = context.request(
        "X-HTTP-Method-Override: OPTIONS", "X-HTTP-Method: OPTIONS", "X-Method-Override: OPTIONS"
    )
    sent = "GET without a token, overridden to OPTIONS by headers"
    yield Probe("method-override", sent, override, rejected(exactly_401=True))
    yield Probe("http-1.0", "GET over HTTP/1.0 without a token", context.request(version="HTTP/1.0"), rejected())


def _other_routes(context: ProbeContext) -> Iterator[Probe]:
    """Yield probes of the test route under other hosts and path variants."""
    check = _not_served_by_application(context)
    host = context.request(*context.canary_headers, host=FOREIGN_HOST)
    yield Probe("foreign-host", "no token, and another host in Host", host, check)
    absolute = context.request(*context.canary_headers, path=f"http://{FOREIGN_HOST}{context.target.path}")
    yield Probe(
        "absolute-foreign", "no token, and another host in the request target", absolute, check, malformed=True
    )
    if context.target.path == "/":
        return
    for name, path in path_variants(context.target.path, context.target):
        if name in _UNAUTHENTICATED_VARIANTS:
            sent = f"the route without a token, path variant {name}"
            request = context.request(*context.canary_headers, path=path)
            yield Probe(f"open-{name}", sent, request, check, malformed=True)


def _foreign_preflight_rejected(context: ProbeContext, origin: str) -> Check:
    """Return a check of a CORS preflight of an unknown `origin`: the gateway may respond, without permission."""

    def check(response: Response) -> Result:
        permitted = {"*", origin} & set(response.values("access-control-allow-origin"))
        if response.accepted and permitted and not context.reached_application(response, context.target.path):
            return Result(Issue.FOREIGN_ORIGIN_ALLOWED, f"{response.status}, permission for {permitted.pop()}")
        return preflight_rejected(context, context.target.path)(response)

    return check


def _not_served_by_application(context: ProbeContext) -> Check:
    """Return a check of the test route under another name: other sites may respond, the application must not."""

    def check(response: Response) -> Result:
        if response.accepted and not context.reached_application(response, context.target.path):
            if context.echo:
                return Result(None, f"{response.status}, not from the test route")
            return Result(Issue.NO_ECHO, f"{response.status}, the sender could not be identified")
        return rejected(Issue.AUTHENTICATION_BYPASS)(response)

    return check
