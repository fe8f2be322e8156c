"""The catalogue of issues: for each one its severity, its impact and its fix, also for particular gateways."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """The severity of a finding. `INCONCLUSIVE` means that the result could not be seen, so it is not a pass."""

    VULNERABLE = "vulnerable"
    WARNING = "warning"
    INCONCLUSIVE = "inconclusive"
    PASS = "pass"  # noqa: S105 - a test result


class Gateway(StrEnum):
    """The gateways in `deploy/gateways/`, named as their folders."""

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


class Issue(StrEnum):
    """A kind of problem that a probe can find."""

    UNAUTHENTICATED_ACCESS = "unauthenticated_access"
    AUTHENTICATION_BYPASS = "authentication_bypass"
    PREFLIGHT_ACCEPTED = "preflight_accepted"
    FOREIGN_ORIGIN_ALLOWED = "foreign_origin_allowed"
    IDENTITY_SPOOFED = "identity_spoofed"
    HEADER_NAME_VARIANT = "header_name_variant"
    MALFORMED_HEADER = "malformed_header"
    TRAILER_FORWARDED = "trailer_forwarded"
    WRONG_IDENTITY = "wrong_identity"
    MISSING_IDENTITY = "missing_identity"
    IDENTITY_STRIPPED = "identity_stripped"
    IDENTITY_DISCLOSED = "identity_disclosed"
    MULTIPLE_CREDENTIALS = "multiple_credentials"
    TOKEN_IN_QUERY = "token_in_query"  # noqa: S105 - the name of an issue
    POLICY_BYPASS = "policy_bypass"
    POSSIBLE_POLICY_BYPASS = "possible_policy_bypass"
    TUNNEL_OPENED = "tunnel_opened"
    AMBIGUOUS_LENGTH = "ambiguous_length"
    VERIFIER_EXPOSED = "verifier_exposed"
    MISSING_CHALLENGE = "missing_challenge"
    WRONG_REJECTION_STATUS = "wrong_rejection_status"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    UNSUITABLE_ROUTE = "unsuitable_route"
    TOKEN_REJECTED = "token_rejected"  # noqa: S105 - the name of an issue
    NO_ECHO = "no_echo"
    PARTIAL_ECHO = "partial_echo"
    UNSUITABLE_ADMIN_PATH = "unsuitable_admin_path"
    NO_RESPONSE = "no_response"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Remediation:
    """The impact and fix of an issue, for the operator.

    Attributes:
        severity: of every finding with this issue.
        impact: what an attacker gains, or why the result could not be seen.
        fix: what to change, for any gateway.
        per_gateway: the directives of particular gateways that do it.
    """

    severity: Severity
    impact: str
    fix: str
    per_gateway: Mapping[Gateway, str] = field(default_factory=dict)

    def fix_for(self, gateway: Gateway | None) -> str:
        """Return the fix, with the directives of `gateway` if they are known."""
        directives = self.per_gateway.get(gateway) if gateway else None
        return f"{self.fix}: {directives}" if directives else self.fix


_OVERWRITE: Final = {
    Gateway.NGINX: "`proxy_set_header X-Auth-... $auth_...;` for all eight, repeated in each location that sets one",
    Gateway.ENVOY: "all eight in `allowed_upstream_headers`, and removed in `early_header_mutation_extensions`",
    Gateway.CADDY: "all eight in `copy_headers`, and removed before `forward_auth`",
    Gateway.HAPROXY: "`http-request del-header x-auth- -m beg` before the call to the verifier",
    Gateway.TRAEFIK: "all eight in `authResponseHeaders`",
    Gateway.INGRESS_NGINX: "all eight in `auth-response-headers`",
    Gateway.ISTIO: "all eight in `headersToUpstreamOnAllow`",
    Gateway.APISIX: "all eight in `upstream_headers`",
}

CATALOGUE: Final[dict[Issue, Remediation]] = {
    Issue.UNAUTHENTICATED_ACCESS: Remediation(
        Severity.VULNERABLE,
        "the application can be reached without a valid token: the gateway does not call the verifier, or ignores its"
        " response (if the policy of this route is anonymous, test another route)",
        "apply the check to the whole server instead of single locations, and deny the request when the check fails",
        {
            Gateway.NGINX: "`auth_request /gatepass/default;` in the server block, no `auth_request off;` below it",
            Gateway.ENVOY: "`failure_mode_allow: false`, no `disabled: true` on a route",
            Gateway.ISTIO: "`failOpen: false`, and an AuthorizationPolicy with action CUSTOM that covers the route",
            Gateway.APISIX: "`allow_degradation: false`",
        },
    ),
    Issue.AUTHENTICATION_BYPASS: Remediation(
        Severity.VULNERABLE,
        "a variant of the route is open without a token: the check depends on one spelling of the path or the host",
        "check every path and every host by default, and reject or normalise ambiguous paths",
    ),
    Issue.PREFLIGHT_ACCEPTED: Remediation(
        Severity.WARNING,
        "OPTIONS without a token is accepted, which is correct only if the gateway itself responds to preflights;"
        " the sender of the response could not be identified",
        "make sure that preflight requests do not reach the application",
    ),
    Issue.FOREIGN_ORIGIN_ALLOWED: Remediation(
        Severity.WARNING,
        "a CORS preflight of an unknown origin is permitted, so a page of any origin that has a token can call the"
        " application",
        "permit preflights of the origins that you know, compared whole, and of no others",
    ),
    Issue.IDENTITY_SPOOFED: Remediation(
        Severity.VULNERABLE,
        "the application trusts these headers, so a client can impersonate any user",
        "overwrite or remove all eight identity headers on every request",
        _OVERWRITE,
    ),
    Issue.HEADER_NAME_VARIANT: Remediation(
        Severity.VULNERABLE,
        "CGI, WSGI and PHP applications read `_` (some also `.`) in header names as `-`, so a client can impersonate"
        " any user",
        "drop or reject every header with `_` or `.` in its name",
        {
            Gateway.NGINX: "`underscores_in_headers off;`, in the first server block of the port",
            Gateway.ENVOY: "`headers_with_underscores_action: DROP_HEADER`",
            Gateway.TRAEFIK: "`underscoreHeadersStrategy: delete` on the entry point",
        },
    ),
    Issue.MALFORMED_HEADER: Remediation(
        Severity.VULNERABLE,
        "gateway and application parse a malformed header line differently, so a client can impersonate any user",
        "reject header lines that RFC 9112 §5 forbids, and use a current version of the gateway",
        {Gateway.NGINX: "`ignore_invalid_headers on;`"},
    ),
    Issue.TRAILER_FORWARDED: Remediation(
        Severity.VULNERABLE,
        "trailer fields reach the application as headers, after the gateway has overwritten the identity headers",
        "drop trailers from clients",
        {
            Gateway.ENVOY: "`enable_trailers: false` in `http_protocol_options`",
            Gateway.HAPROXY: "`option http-drop-request-trailers` (HAProxy 3.2 or later)",
        },
    ),
    Issue.WRONG_IDENTITY: Remediation(
        Severity.VULNERABLE,
        "the application received another subject than that of the token",
        "set X-Auth-Subject from the verifier's response only",
        _OVERWRITE,
    ),
    Issue.MISSING_IDENTITY: Remediation(
        Severity.WARNING,
        "the application does not learn which user sent the request",
        "forward the identity headers of the verifier's response",
        _OVERWRITE,
    ),
    Issue.IDENTITY_STRIPPED: Remediation(
        Severity.VULNERABLE,
        "a client can make the gateway remove the identity headers that it has just set; some applications treat a"
        " request without identity as an internal one (CVE-2025-48865)",
        "set the identity headers after hop-by-hop headers are removed, or remove `Connection` of clients first",
    ),
    Issue.IDENTITY_DISCLOSED: Remediation(
        Severity.WARNING,
        "the response to the client contains the identity headers, which are meant for the application",
        "add the verifier's headers to the request and not to the response",
    ),
    Issue.MULTIPLE_CREDENTIALS: Remediation(
        Severity.VULNERABLE,
        "two credentials in one request are accepted: the verifier may check one and the application use the other",
        "reject more than one Authorization field",
        {
            Gateway.NGINX: "forward `$http_authorization` unchanged, so that the verifier sees what the client sent",
            Gateway.HAPROXY: "`http-request deny if { req.hdr_cnt(authorization) gt 1 }`",
        },
    ),
    Issue.TOKEN_IN_QUERY: Remediation(
        Severity.VULNERABLE,
        "a token in a URL is accepted, and URLs end up in logs, histories and referrers"
        " (RFC 6750 §5.3, RFC 9700 §4.3.2)",
        "do not copy a query parameter into the Authorization header",
    ),
    Issue.POLICY_BYPASS: Remediation(
        Severity.VULNERABLE,
        "the gateway applied the policy of another path, so a token without the required scope is accepted",
        "forward the path that was checked, and reject ambiguous paths (encoded slashes, `;`, backslashes,"
        " encoded control characters, invalid encodings)",
        {
            Gateway.NGINX: "`proxy_pass http://application/;` with a path, `merge_slashes on;`, and the map of"
            " ambiguous paths",
            Gateway.ENVOY: "`normalize_path`, `merge_slashes` and `path_with_escaped_slashes_action: REJECT_REQUEST`",
        },
    ),
    Issue.POSSIBLE_POLICY_BYPASS: Remediation(
        Severity.INCONCLUSIVE,
        "the request was accepted, and the response does not show which path the application received; if it was the"
        " protected one, a token without the required scope is accepted",
        "serve an echo on the protected path during the test, or look at the application's log",
    ),
    Issue.TUNNEL_OPENED: Remediation(
        Severity.VULNERABLE,
        "a tunnel was opened, and the gateway does not check the requests inside it",
        "forward only `Upgrade: websocket`, and check the handshake like any other request",
        {
            Gateway.NGINX: "the two maps of `$http_upgrade`",
            Gateway.ENVOY: "`upgrade_configs` with websocket alone",
        },
    ),
    Issue.AMBIGUOUS_LENGTH: Remediation(
        Severity.WARNING,
        "a request with two body lengths was accepted. RFC 9112 §6.1 allows this if the gateway forwards only one of"
        " them, which could not be seen; otherwise requests can be smuggled in bodies (§11.2)",
        "reject requests with both Content-Length and Transfer-Encoding, and use a current version of the gateway",
    ),
    Issue.VERIFIER_EXPOSED: Remediation(
        Severity.VULNERABLE,
        "clients can reach the verifier's own endpoints: its metrics, or an oracle that tests tokens",
        "route no client path to the verifier, and do not route its admin port at all",
        {Gateway.NGINX: "`internal;` in the location that calls the verifier"},
    ),
    Issue.MISSING_CHALLENGE: Remediation(
        Severity.WARNING,
        "the rejection has no Bearer challenge, so clients cannot know that a token is required (RFC 6750 §3)",
        "forward WWW-Authenticate of the verifier's response",
        {Gateway.ENVOY: "`allowed_client_headers` with WWW-Authenticate"},
    ),
    Issue.WRONG_REJECTION_STATUS: Remediation(
        Severity.WARNING,
        "the request was rejected, but not with 401, so clients cannot know that a token is required (RFC 6750 §3)",
        "forward the verifier's 401 and its challenge",
    ),
    Issue.SERVER_ERROR: Remediation(
        Severity.WARNING,
        "any client can cause this error, and it looks like an outage",
        "check the gateway's error log at the time of the request, and that the verifier is running and reachable",
    ),
    Issue.UNREACHABLE: Remediation(
        Severity.INCONCLUSIVE,
        "the gateway cannot be reached, so nothing was tested",
        "check the URL; if the certificate is private, pass its certificate authority with --ca-file",
    ),
    Issue.UNSUITABLE_ROUTE: Remediation(
        Severity.INCONCLUSIVE,
        "spoofing can be seen only on a route where the application responds to a valid token",
        "give the URL of a route that responds to GET with 200; redirects are not followed",
    ),
    Issue.TOKEN_REJECTED: Remediation(
        Severity.INCONCLUSIVE,
        "the token was rejected, so what reaches the application could not be tested",
        "log in to get a new token; `python -m verifier explain` shows why a token is rejected",
    ),
    Issue.NO_ECHO: Remediation(
        Severity.INCONCLUSIVE,
        "the route does not show the request that it received, so spoofed headers cannot be seen",
        "serve an echo on a test route, such as `python -m stack.sample_app` or traefik/whoami",
    ),
    Issue.PARTIAL_ECHO: Remediation(
        Severity.INCONCLUSIVE,
        "the route shows only some identity headers, so the others could not be tested",
        "serve an echo of all headers on a test route, such as `python -m stack.sample_app` or traefik/whoami",
    ),
    Issue.UNSUITABLE_ADMIN_PATH: Remediation(
        Severity.INCONCLUSIVE,
        "policy bypasses can be seen only if the protected path rejects the token with 403",
        "give an existing path that requires a scope which the token lacks",
    ),
    Issue.NO_RESPONSE: Remediation(
        Severity.INCONCLUSIVE,
        "there was no response to check",
        "run the test again, and check the gateway's log at the time of the request",
    ),
    Issue.TIMEOUT: Remediation(
        Severity.INCONCLUSIVE,
        "the time limit of the whole test was reached before this request",
        "find out why the gateway responds slowly, and run the test again",
    ),
}
