"""Every cause that a finding can have: how grave it is, why it matters, and what to change. Total, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How grave."""

    LEAK = "leak"
    WEAK = "weak"
    UNJUDGED = "unjudged"
    FINE = "fine"


class Gateway(StrEnum):
    """Gateways that the folders of `deploy/gateways/` are named after."""

    NGINX = "nginx"
    ENVOY = "envoy"
    CADDY = "caddy"
    HAPROXY = "haproxy"
    TRAEFIK = "traefik"
    INGRESS_NGINX = "ingress-nginx"
    ISTIO = "istio"
    ENVOY_GATEWAY = "envoy-gateway"
    GATEWAY_API = "gateway-api"
    KONG = "kong"
    APISIX = "apisix"


class Cause(StrEnum):
    """What was found."""

    OPEN = "open"
    OPEN_BY_SPELLING = "open_by_spelling"
    PREFLIGHT = "preflight"
    SPOOFED = "spoofed"
    UNDERSCORED = "underscored"
    MISREAD_FIELD = "misread_field"
    TRAILER = "trailer"
    IDENTITY_WRONG = "identity_wrong"
    IDENTITY_ABSENT = "identity_absent"
    IDENTITY_STRIPPED = "identity_stripped"
    IDENTITY_TOLD = "identity_told"
    TWO_CREDENTIALS = "two_credentials"
    TOKEN_IN_QUERY = "token_in_query"  # noqa: S105 - the name of a cause
    POLICY_ESCAPED = "policy_escaped"
    POLICY_UNKNOWN = "policy_unknown"
    TUNNEL = "tunnel"
    TWO_LENGTHS = "two_lengths"
    VERIFIER_REACHED = "verifier_reached"
    NO_CHALLENGE = "no_challenge"
    OTHER_REFUSAL = "other_refusal"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    ROUTE_UNUSABLE = "route_unusable"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - the name of a cause
    NO_ECHO = "no_echo"
    PART_ECHO = "part_echo"
    ADMIN_UNUSABLE = "admin_unusable"
    NO_ANSWER = "no_answer"
    TIME_UP = "time_up"


@dataclass(frozen=True)
class Advice:
    """What a person needs to act on a finding.

    Attributes:
        severity: of every finding with this cause.
        matters: why.
        change: what, at any gateway.
        at: what, at one of them, in the words of its configuration.
    """

    severity: Severity
    matters: str
    change: str
    at: Mapping[Gateway, str] = field(default_factory=dict)

    def change_at(self, gateway: Gateway | None) -> str:
        """What to change, as exactly as can be told."""
        exact = self.at.get(gateway) if gateway else None
        return f"{self.change}: {exact}" if exact else self.change


_OVERWRITE: Final = {
    Gateway.NGINX: "`proxy_set_header X-Auth-... $auth_...;` for all eight, again in each location that sets one",
    Gateway.ENVOY: "all eight in `allowed_upstream_headers`, and removed in `early_header_mutation_extensions`",
    Gateway.CADDY: "all eight in `copy_headers`, and removed before `forward_auth`",
    Gateway.HAPROXY: "`http-request del-header x-auth- -m beg` before the verifier is asked",
    Gateway.TRAEFIK: "all eight in `authResponseHeaders`",
    Gateway.INGRESS_NGINX: "all eight in `auth-response-headers`",
    Gateway.ISTIO: "all eight in `headersToUpstreamOnAllow`",
    Gateway.APISIX: "all eight in `upstream_headers`",
}

ADVICE: Final[dict[Cause, Advice]] = {
    Cause.OPEN: Advice(
        Severity.LEAK,
        "the application was reached without a good token: the gateway does not ask the verifier, or ignores its no"
        " (or the policy of this route is anonymous: name another route)",
        "put the check before the whole server and not before one location; let nothing pass when it fails",
        {
            Gateway.NGINX: "`auth_request /gatepass/default;` in the server block, no `auth_request off;` below it",
            Gateway.ENVOY: "`failure_mode_allow: false`, no `disabled: true` on a route",
            Gateway.ISTIO: "`failOpen: false`, and an AuthorizationPolicy with action CUSTOM that covers the route",
            Gateway.APISIX: "`allow_degradation: false`",
        },
    ),
    Cause.OPEN_BY_SPELLING: Advice(
        Severity.LEAK,
        "the same route in another spelling is open: the check is tied to one way of writing a path or a host",
        "check every path and every host by default, and refuse or resolve what has two readings",
    ),
    Cause.PREFLIGHT: Advice(
        Severity.WEAK,
        "OPTIONS is answered without a token, by whom could not be seen; fine if the gateway itself answers CORS",
        "make sure that the application is not reached",
    ),
    Cause.SPOOFED: Advice(
        Severity.LEAK,
        "the application believes these headers: whoever sends them is whoever they like",
        "overwrite or remove all eight identity headers on every request",
        _OVERWRITE,
    ),
    Cause.UNDERSCORED: Advice(
        Severity.LEAK,
        "an application by CGI, WSGI or PHP reads `_` (some `.`) as `-`: whoever sends these is whoever they like",
        "drop or refuse every header with `_` or `.` in its name",
        {
            Gateway.NGINX: "`underscores_in_headers off;`, in the first server block of the port",
            Gateway.ENVOY: "`headers_with_underscores_action: DROP_HEADER`",
            Gateway.TRAEFIK: "`underscoreHeadersStrategy: delete` on the entry point",
        },
    ),
    Cause.MISREAD_FIELD: Advice(
        Severity.LEAK,
        "gateway and application read an odd header line differently, and the client's identity came through",
        "refuse header lines that RFC 9112 §5 forbids; use a current version of the gateway",
        {Gateway.NGINX: "`ignore_invalid_headers on;`"},
    ),
    Cause.TRAILER: Advice(
        Severity.LEAK,
        "fields behind the body reached the application as headers: nobody had overwritten them there",
        "drop trailers from clients",
        {
            Gateway.ENVOY: "`enable_trailers: false` in `http_protocol_options`",
            Gateway.HAPROXY: "`option http-drop-request-trailers`, from HAProxy 3.2 on",
        },
    ),
    Cause.IDENTITY_WRONG: Advice(
        Severity.LEAK,
        "the application was told somebody else than the token's subject",
        "set X-Auth-Subject from the verifier's answer and from nothing else",
        _OVERWRITE,
    ),
    Cause.IDENTITY_ABSENT: Advice(
        Severity.WEAK,
        "the application was not told who is calling",
        "pass on the identity headers of the verifier's answer",
        _OVERWRITE,
    ),
    Cause.IDENTITY_STRIPPED: Advice(
        Severity.LEAK,
        "a client can make the gateway remove the identity that it has just set; some applications take none for one"
        " of their own (CVE-2025-48865)",
        "set the identity headers after hop-by-hop headers are removed, or remove `Connection` from clients first",
    ),
    Cause.IDENTITY_TOLD: Advice(
        Severity.WEAK,
        "the client was told the identity headers, which are for the application",
        "pass the verifier's headers on with the request and not with the answer",
    ),
    Cause.TWO_CREDENTIALS: Advice(
        Severity.LEAK,
        "two credentials passed: the verifier may have judged one, and the application acts on the other",
        "refuse more than one Authorization field",
        {
            Gateway.NGINX: "pass on `$http_authorization` as it came, so that the verifier sees what the client sent",
            Gateway.HAPROXY: "`http-request deny if { req.hdr_cnt(authorization) gt 1 }`",
        },
    ),
    Cause.TOKEN_IN_QUERY: Advice(
        Severity.LEAK,
        "a token in a URL is accepted, and URLs are logged, kept and handed on (RFC 6750 §5.3, RFC 9700 §4.3.2)",
        "make no Authorization header of a query parameter",
    ),
    Cause.POLICY_ESCAPED: Advice(
        Severity.LEAK,
        "a protected path was judged as another one: a token without the scope gets in",
        "pass on the path as it was judged, and refuse what has two readings (encoded slashes, `;`, backslashes)",
        {
            Gateway.NGINX: "`proxy_pass http://application/;` with a path, `merge_slashes on;`, and the map of"
            " ambiguous paths",
            Gateway.ENVOY: "`normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action: REJECT_REQUEST`",
        },
    ),
    Cause.POLICY_UNKNOWN: Advice(
        Severity.UNJUDGED,
        "it passed, and the answer does not say which path the application got; the protected page would be a leak",
        "put an echo there for a while, or look at the application's log",
    ),
    Cause.TUNNEL: Advice(
        Severity.LEAK,
        "a tunnel was opened: what goes through it is seen by nobody",
        "pass on `Upgrade: websocket` and no other, and check the handshake like any request",
        {
            Gateway.NGINX: "the two maps of `$http_upgrade`",
            Gateway.ENVOY: "`upgrade_configs` with websocket alone",
        },
    ),
    Cause.TWO_LENGTHS: Advice(
        Severity.WEAK,
        "a request with two lengths passed, as RFC 9112 §6.1 allows if the gateway passes on but one of them; whether"
        " it does could not be seen, and if not, requests can be hidden in bodies (§11.2)",
        "refuse requests with both Content-Length and Transfer-Encoding; use a current version of the gateway",
    ),
    Cause.VERIFIER_REACHED: Advice(
        Severity.LEAK,
        "the verifier's own pages are open to clients: its metrics, or an oracle for tokens",
        "route no client's path to the verifier, and its admin port nowhere",
        {Gateway.NGINX: "`internal;` in the location that asks the verifier"},
    ),
    Cause.NO_CHALLENGE: Advice(
        Severity.WEAK,
        "a refusal without a Bearer challenge: clients can't tell that a token is wanted (RFC 6750 §3)",
        "relay WWW-Authenticate of the verifier's answer",
        {Gateway.ENVOY: "`allowed_client_headers` with WWW-Authenticate"},
    ),
    Cause.OTHER_REFUSAL: Advice(
        Severity.WEAK,
        "it was refused, but not with 401: clients can't tell that a token is wanted (RFC 6750 §3)",
        "relay the verifier's 401 and its challenge",
    ),
    Cause.SERVER_ERROR: Advice(
        Severity.WEAK,
        "any stranger can provoke this, and it looks like an outage",
        "look at the gateway's error log for this moment; is the verifier running and in reach?",
    ),
    Cause.UNREACHABLE: Advice(
        Severity.UNJUDGED,
        "nothing can be said about what can't be reached",
        "check the URL; name the certificate authority of a private certificate with --ca-file",
    ),
    Cause.ROUTE_UNUSABLE: Advice(
        Severity.UNJUDGED,
        "spoofing is seen only where a good token gets an answer of the application",
        "give the URL of a route that answers GET with 200; redirects are not followed",
    ),
    Cause.TOKEN_REFUSED: Advice(
        Severity.UNJUDGED,
        "without a token that passes nothing can be said about what reaches the application",
        "log in for a fresh token; `python -m verifier explain` says why one is refused",
    ),
    Cause.NO_ECHO: Advice(
        Severity.UNJUDGED,
        "the route does not show what it got, so whether spoofed headers reach it could not be seen",
        "put an echo behind a test route, such as `python -m stack.application` or traefik/whoami",
    ),
    Cause.PART_ECHO: Advice(
        Severity.UNJUDGED,
        "the route shows some identity headers only, so nothing can be said about the others",
        "put an echo of all headers behind a test route, such as `python -m stack.application` or traefik/whoami",
    ),
    Cause.ADMIN_UNUSABLE: Advice(
        Severity.UNJUDGED,
        "tricks with paths are seen only where the protected path refuses the token with 403",
        "name a path that is there and needs a scope which the token lacks",
    ),
    Cause.NO_ANSWER: Advice(
        Severity.UNJUDGED,
        "what is not answered can't be judged",
        "try again; look at the gateway's log for this moment",
    ),
    Cause.TIME_UP: Advice(
        Severity.UNJUDGED,
        "the time for all requests was over before this one",
        "find out why the gateway is so slow, and try again",
    ),
}
