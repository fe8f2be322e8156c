"""A valid token with identity headers made up by the client. The application may receive only those of the token."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from doctor.echo import CANARY_HEADER, name_value_pairs, normalize_header_name, subject_shown
from doctor.findings import Issue
from doctor.messages import Response
from doctor.probe import Check, Probe, ProbeContext, Result

# Name, description, issue, and the header lines, which `_spoof` fills in.
_VARIANTS: Final = (
    ("spoofed", "as documented", Issue.IDENTITY_SPOOFED, "{name}: {value}"),
    ("lower-case", "in lower case", Issue.IDENTITY_SPOOFED, "{lower}: {value}"),
    ("upper-case", "in upper case", Issue.IDENTITY_SPOOFED, "{upper}: {value}"),
    ("doubled-last", "twice, first empty", Issue.IDENTITY_SPOOFED, "{name}:\r\n{name}: {value}"),
    ("doubled-first", "twice, last empty", Issue.IDENTITY_SPOOFED, "{name}: {value}\r\n{name}:"),
    ("spaced", "with unusual white space around the value", Issue.IDENTITY_SPOOFED, "{name}:\t  {value} \t"),
    ("underscores", "with `_` for `-`", Issue.HEADER_NAME_VARIANT, "{underscored}: {value}"),
    ("one-underscore", "with `_` for the last `-`", Issue.HEADER_NAME_VARIANT, "{last_underscored}: {value}"),
    ("dots", "with `.` for `-`", Issue.HEADER_NAME_VARIANT, "{dotted}: {value}"),
    (
        "both-spellings",
        "with `-` and empty, and again with `_`",
        Issue.HEADER_NAME_VARIANT,
        "{name}:\r\n{upper_underscored}: {value}",
    ),
    ("space-before-colon", "with a space before the colon", Issue.MALFORMED_HEADER, "{name} : {value}"),
    ("folded-value", "with the value on a line of its own", Issue.MALFORMED_HEADER, "{name}:\r\n {value}"),
    (
        "folded-line",
        "as the continuation of another header",
        Issue.MALFORMED_HEADER,
        f"{CANARY_HEADER}: a\r\n {{name}}: {{value}}",
    ),
    (
        "bare-cr",
        "after a bare CR in another header",
        Issue.MALFORMED_HEADER,
        f"{CANARY_HEADER}: a\r{{name}}: {{value}}",
    ),
)


def spoofing(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes that need an echo."""
    for name, how, issue, template in _VARIANTS:
        lines = [_spoof(template, header, context.canary_for(header)) for header in context.identity_headers]
        request = context.request(*context.canary_headers, *lines, context.authorization)
        sent = f"a valid token and all identity headers {how}"
        check = no_spoofed_identity(context, issue)
        yield Probe(name, sent, request, check, malformed=issue is Issue.MALFORMED_HEADER)
    yield _trailer(context)
    yield from _hop_by_hop(context)


def _spoof(template: str, name: str, value: str) -> str:
    underscored = name.replace("-", "_")
    return template.format(
        name=name,
        value=value,
        lower=name.lower(),
        upper=name.upper(),
        underscored=underscored,
        upper_underscored=underscored.upper(),
        last_underscored=name.replace("Auth-", "Auth_"),
        dotted=name.replace("-", "."),
    )


def anonymous_spoofing(context: ProbeContext) -> Probe:
    """Return the probe of a route that requires no token: an anonymous client must not gain an identity."""
    lines = [f"{name}: {context.canary_for(name)}" for name in context.identity_headers]
    request = context.request(*context.canary_headers, *lines)
    without_identity = replace(context, echo=replace(context.echo, identity=False))
    check = no_spoofed_identity(without_identity, Issue.IDENTITY_SPOOFED)
    return Probe("spoofed-without-token", "all identity headers and no token", request, check)


def no_spoofed_identity(context: ProbeContext, issue: Issue) -> Check:
    """Return a check that the application received the token's subject and no spoofed value, or no request at all."""

    def check(response: Response) -> Result:
        if not response.accepted:
            return Result(None, f"{response.status}: rejected")
        if leaked := [name for name in context.identity_headers if _leaked(response, context.canary_for(name))]:
            which = ", ".join(leaked)
            if len(leaked) == len(context.identity_headers):
                which = "all identity headers" if context.claim_headers else "all eight identity headers"
            return Result(issue, f"{response.status}, the application received spoofed values: {which}")
        if not context.reached_application(response, context.target.path):
            return Result(Issue.NO_ECHO, f"{response.status}, the response shows nothing of the request")
        if context.echo.identity and not subject_shown(response, context.token.subject):
            return Result(Issue.IDENTITY_STRIPPED, f"{response.status}, the application received no subject")
        subject = "the token's subject" if context.echo.identity else "no identity"
        return Result(None, f"{response.status}, the application received {subject}")

    return check


def _leaked(response: Response, canary: str) -> bool:
    # An obs-fold line becomes part of the header before it (RFC 9112 §5.2); the canary there is not a leak.
    return any(
        canary in value and normalize_header_name(name) != normalize_header_name(CANARY_HEADER)
        for name, value in name_value_pairs(response)
    )


def _trailer(context: ProbeContext) -> Probe:
    fields = "".join(f"{name}: {context.canary_for(name)}\r\n" for name in context.identity_headers)
    request = context.request(
        *context.canary_headers,
        context.authorization,
        "Transfer-Encoding: chunked",
        f"Trailer: {', '.join(context.identity_headers)}",
        method="POST",
        body=f"0\r\n{fields}\r\n".encode("ascii"),
    )
    sent = "POST with a valid token, and all identity headers in the trailer"
    check = no_spoofed_identity(context, Issue.TRAILER_FORWARDED)
    return Probe("trailer", sent, request, check, malformed=True)


def _hop_by_hop(context: ProbeContext) -> Iterator[Probe]:
    """Yield probes that name identity headers in `Connection`, which makes proxies remove them (RFC 9110 §7.6.1)."""
    all_names = ", ".join(["close", *context.identity_headers])
    spoofed = [f"{name}: {context.canary_for(name)}" for name in context.identity_headers]
    check = no_spoofed_identity(context, Issue.IDENTITY_SPOOFED)
    for name, sent, lines, connection in (
        ("hop-by-hop", "a valid token and `Connection: X-Auth-Subject`", [], "close, X-Auth-Subject"),
        ("hop-by-hop-spoofed", "all identity headers, spoofed and named in `Connection`", spoofed, all_names),
        ("hop-by-hop-token", "a valid token and `Connection: Authorization`", [], "close, Authorization"),
    ):
        request = context.request(*context.canary_headers, *lines, context.authorization, connection=connection)
        yield Probe(name, sent, request, check)
