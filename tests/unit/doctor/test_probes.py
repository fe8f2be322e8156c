"""The doctor's checks against gateways that are functions, for faults that real ones rarely have."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from doctor.command import exit_status, summary
from doctor.echo import normalize_leniently
from doctor.findings import CATALOGUE, Gateway, Issue, Severity
from doctor.messages import NoResponse, Outcome, Request, Response
from doctor.probe import ProbeContext
from doctor.runner import Finding, max_requests, run
from doctor.target import Target
from doctor.token import AccessToken
from shared.identity_headers import IDENTITY_HEADERS
from tests.support.processes import ROOT
from tests.support.token_forge import Forge

NOW = 1_000_000.0
TOKEN = Forge().token(NOW)
ACCESS_TOKEN = AccessToken.parse(TOKEN, NOW)
URL = "https://app.example/hello"
TARGET = Target.parse(URL, allow_http=False)
CONTEXT = ProbeContext(TARGET, ACCESS_TOKEN, "gp0123456789abcdefn", "/admin/")
CHALLENGE = ("www-authenticate", 'Bearer realm="gatepass"')


class Received:
    """A request as a simple parser reads it."""

    def __init__(self, request: Request) -> None:
        self.head, _, self.body = request.data.decode("latin-1").partition("\r\n\r\n")
        first, *self.lines = self.head.split("\r\n")
        self.method, target, _ = first.split(" ")
        self.path = re.sub(r"^https?://[^/]*", "", target)
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in self.lines)]

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known.lower() == name]


def secure(received: Received, *also: tuple[str, str], without: frozenset[str] = frozenset()) -> Response:
    """Behave as a secure gateway that drops unknown headers, in front of an application that echoes the rest."""
    if received.values("authorization") != [f"Bearer {TOKEN.decode()}"]:
        return Response(401, (CHALLENGE,))
    if any(line.startswith(" ") or " :" in line or "\r" in line for line in received.lines):
        return Response(400)
    if len(received.values("content-length") + received.values("transfer-encoding")) > 1:
        return Response(400)
    if normalize_leniently(received.path).startswith("/admin"):
        return Response(403, (CHALLENGE,))
    forwarded = [
        ("X-Auth-Subject", ACCESS_TOKEN.subject),
        ("X-Gatepass-Doctor", *received.values("x-gatepass-doctor")),
    ]
    shown = dict([pair for pair in forwarded if len(pair) == 2 and pair[0].lower() not in without])
    return Response(200, (), json.dumps({"path": received.path, "headers": shown | dict(also)}).encode())


def run_against(gateway: Callable[[Received], Outcome], has_time: Callable[[], bool] = lambda: True) -> list[Finding]:
    return list(run(CONTEXT, lambda request: gateway(Received(request)), has_time))


def issues(findings: list[Finding]) -> dict[str, Issue]:
    """Return the issues by probe."""
    return {finding.probe: finding.issue for finding in findings if finding.issue is not None}


def test_a_secure_gateway_has_no_issues() -> None:
    findings = run_against(secure)
    assert issues(findings) == {}
    assert len(findings) == max_requests(CONTEXT) < 90


def test_removal_of_headers_named_in_connection_is_found() -> None:
    def strips(received: Received) -> Response:
        named = ",".join(received.values("connection")).lower().replace(" ", "").split(",")
        return secure(received, without=frozenset(named))

    found = issues(run_against(strips))
    assert found == dict.fromkeys(["hop-by-hop", "hop-by-hop-spoofed"], Issue.IDENTITY_STRIPPED)


@pytest.mark.parametrize(
    ("probe", "odd"),
    [
        ("space-before-colon", re.compile(r"\r\n(X-Auth-\w+) : (.*)")),
        ("folded-value", re.compile(r"\r\n(X-Auth-\w+):\r\n (.*)")),
        ("folded-line", re.compile(r"\r\n (X-Auth-\w+): (.*)")),
        ("bare-cr", re.compile(r"\r(?!\n)(X-Auth-\w+): (.*)")),
    ],
)
def test_a_misread_header_line_is_found(probe: str, odd: re.Pattern[str]) -> None:
    def misreads(received: Received) -> Response:
        if found := odd.search(received.head):
            return Response(200, (), json.dumps({found[1]: found[2]}).encode())
        return secure(received)

    assert issues(run_against(misreads)) == {probe: Issue.MALFORMED_HEADER}


def test_an_unfolded_header_line_is_not_an_issue() -> None:
    def unfolds(received: Received) -> Response:
        head = re.sub(r"\r\n +", " ", received.head)
        return secure(Received(Request(received.method, head.encode("latin-1") + b"\r\n\r\n")))

    assert issues(run_against(unfolds)) == {}


def test_an_anonymous_client_that_gains_an_identity_is_found() -> None:
    def anonymous(received: Received) -> Response:
        if received.values("authorization"):
            return secure(received)
        named = ((name, value) for name, value in received.fields if name.startswith("X-Auth-"))
        return Response(200, (), json.dumps({"path": received.path, "headers": dict(named)}).encode())

    found = issues(run_against(anonymous))
    assert found["no-token"] is Issue.UNAUTHENTICATED_ACCESS
    assert found["spoofed-without-token"] is Issue.IDENTITY_SPOOFED


def test_a_token_accepted_from_a_trailer_is_found() -> None:
    def trusts_trailers(received: Received) -> Response:
        return Response(200) if "Authorization: Bearer" in received.body else secure(received)

    assert issues(run_against(trusts_trailers)) == {"token-in-trailer": Issue.TRAILER_FORWARDED}


def test_a_websocket_without_a_token_is_found() -> None:
    def opens(received: Received) -> Response:
        return Response(101) if received.values("upgrade") == ["websocket"] else secure(received)

    assert issues(run_against(opens)) == {"websocket-without-token": Issue.TUNNEL_OPENED}


@pytest.mark.parametrize("permitted", ["*", "https://gatepass-doctor.invalid"])
def test_a_preflight_that_every_origin_may_send_is_found(permitted: str) -> None:
    def permits(received: Received) -> Response:
        if received.values("access-control-request-method"):
            return Response(204, (("access-control-allow-origin", permitted),))
        return secure(received)

    assert issues(run_against(permits)) == {"preflight": Issue.FOREIGN_ORIGIN_ALLOWED}


def test_a_preflight_that_reaches_the_application_is_found() -> None:
    def forwards(received: Received) -> Response:
        if received.values("access-control-request-method"):
            permission = ("access-control-allow-origin", "*")
            return Response(200, (permission,), json.dumps({"path": received.path}).encode())
        return secure(received)

    assert issues(run_against(forwards)) == {"preflight": Issue.UNAUTHENTICATED_ACCESS}


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri"])
def test_a_trusted_rewrite_header_is_found(header: str) -> None:
    def trusts(received: Received) -> Response:
        named = received.values(header.lower())
        return Response(200) if named == ["/hello"] else secure(received)

    assert issues(run_against(trusts)) == {f"admin-{header.lower()}": Issue.POLICY_BYPASS}


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_a_method_without_the_policy_is_found(method: str) -> None:
    def bypasses(received: Received) -> Response:
        return Response(200) if (received.method, received.path) == (method, "/admin/") else secure(received)

    assert issues(run_against(bypasses)) == {f"admin-{method.lower()}": Issue.POLICY_BYPASS}


def test_a_path_with_an_invalid_encoding_and_without_the_policy_is_found() -> None:
    def bypasses(received: Received) -> Response:
        if received.path != "/admin/%zz":
            return secure(received)
        return Response(200, (), json.dumps({"path": received.path}).encode())

    assert issues(run_against(bypasses)) == {"admin-invalid-encoding": Issue.POLICY_BYPASS}


@pytest.mark.parametrize("how", [NoResponse("no response", rejected=False), Response(429)])
def test_a_missing_response_is_inconclusive(how: Outcome) -> None:
    responses = iter([secure(Received(CONTEXT.request(*CONTEXT.canary_headers, CONTEXT.authorization)))])
    findings = run_against(lambda _: next(responses, how))
    assert set(issues(findings).values()) == {Issue.NO_RESPONSE}
    assert sum(finding.severity is Severity.PASS for finding in findings) == 1


def test_a_closed_connection_rejects_only_malformed_requests() -> None:
    first = iter([secure(Received(CONTEXT.request(*CONTEXT.canary_headers, CONTEXT.authorization)))])
    findings = run_against(lambda _: next(first, NoResponse("closed", rejected=True)))
    passed = {finding.probe for finding in findings if finding.severity is Severity.PASS}
    assert {"valid-token", "folded-line", "two-lengths"} <= passed
    assert passed.isdisjoint({"no-token", "spoofed", "underscores", "valid-then-invalid"})


def test_probes_after_the_deadline_are_inconclusive() -> None:
    ticks = iter(range(10))
    findings = run_against(secure, lambda: next(ticks, None) is not None)
    assert sum(finding.issue is Issue.TIMEOUT for finding in findings) == len(findings) - 11


def test_a_server_error_is_reported_for_any_probe() -> None:
    def fails(received: Received) -> Response:
        return Response(500) if received.method == "OPTIONS" else secure(received)

    assert set(issues(run_against(fails)).values()) == {Issue.SERVER_ERROR}


def test_no_repr_shows_the_token() -> None:
    things = (
        ACCESS_TOKEN,
        CONTEXT,
        CONTEXT.request(CONTEXT.authorization),
        Response(200, (("x", TOKEN.decode()),), TOKEN),
    )
    for part in TOKEN.decode().split("."):
        assert all(part not in repr(thing) for thing in things)


def test_every_issue_has_a_remediation() -> None:
    assert set(CATALOGUE) == set(Issue)
    assert Severity.PASS not in {remediation.severity for remediation in CATALOGUE.values()}


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, 0),
        ({Severity.PASS: 70}, 0),
        ({Severity.WARNING: 1}, 0),
        ({Severity.INCONCLUSIVE: 1, Severity.WARNING: 1}, 2),
        ({Severity.VULNERABLE: 1, Severity.INCONCLUSIVE: 1}, 1),
    ],
)
def test_the_exit_status_follows_the_worst_finding(counts: dict[Severity, int], status: int) -> None:
    full = {severity: counts.get(severity, 0) for severity in Severity}
    assert exit_status(full) == status
    assert summary(full).startswith(
        ("no vulnerability found: ", "the gateway is vulnerable: ", "no vulnerability found, but")[status]
    )


def test_every_gateway_folder_has_a_name() -> None:
    folders = {folder.name for folder in (ROOT / "deploy/gateways").iterdir() if folder.is_dir()}
    assert folders <= set(Gateway)


def _requests() -> Iterator[tuple[Request, Any]]:
    seen: list[Request] = []

    def record(request: Request) -> Outcome:
        seen.append(request)
        return secure(Received(request))

    list(run(CONTEXT, record, lambda: True))
    for request in seen:
        yield request, Received(request)


def test_every_request_names_the_host_and_spoofs_with_canaries() -> None:
    for request, received in _requests():
        assert received.values("host")[0] in {"app.example", "gatepass-doctor.invalid"}
        for name in IDENTITY_HEADERS:
            assert all(value in {"", CONTEXT.canary_for(name)} for value in received.values(name.lower()))
        assert request.method == received.method


def test_additional_headers_are_spoofed_only_when_they_are_named() -> None:
    """The gateway overwrites the eight standard headers and not the ninth."""
    header = "X-Auth-Claim-Tenant"

    def forwards_it(request: Request) -> Outcome:
        received = Received(request)
        return secure(received, *((header, value) for value in received.values(header.lower()) if value))

    named = replace(CONTEXT, claim_headers=(header,))
    found = [it for it in run(named, forwards_it, lambda: True) if it.issue is Issue.IDENTITY_SPOOFED]
    assert found
    assert all(f"spoofed values: {header}" in it.received for it in found)
    assert not [it for it in run(CONTEXT, forwards_it, lambda: True) if it.severity is Severity.VULNERABLE]
    overwritten = run(named, lambda request: secure(Received(request), (header, "acme")), lambda: True)
    assert not [it for it in overwritten if it.severity in (Severity.VULNERABLE, Severity.INCONCLUSIVE)]


def test_an_echo_that_never_shows_an_additional_header_is_inconclusive() -> None:
    def hides_canary(request: Request) -> Outcome:
        return secure(Received(request), without=frozenset({"x-gatepass-doctor"}))

    named = replace(CONTEXT, claim_headers=("X-Auth-Claim-Tenant",))
    partial = [it for it in run(named, hides_canary, lambda: True) if it.issue is Issue.PARTIAL_ECHO]
    assert "X-Auth-Claim-Tenant" in partial[0].received
