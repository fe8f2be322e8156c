"""The doctor's judgements, by gateways that are a function: what real ones are not easily brought to do."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from doctor.command import exit_status, summary
from doctor.echo import generously_read
from doctor.findings import ADVICE, Cause, Gateway, Severity
from doctor.messages import Answer, Outcome, Request, Silence
from doctor.probes import Bench
from doctor.runner import Finding, examine, most_requests
from doctor.target import Target
from doctor.token import Credential
from shared.identity_headers import IDENTITY_HEADERS
from tests.support.processes import ROOT
from tests.support.token_forge import Forge

NOW = 1_000_000.0
TOKEN = Forge().token(NOW)
CREDENTIAL = Credential.parse(TOKEN, NOW)
URL = "https://app.example/hello"
TARGET = Target.parse(URL, allow_http=False)
BENCH = Bench(TARGET, CREDENTIAL, "gp0123456789abcdefn", "/admin/")
CHALLENGE = ("www-authenticate", 'Bearer realm="gatepass"')


class Received:
    """A request as a plain parser reads it."""

    def __init__(self, request: Request) -> None:
        self.head, _, self.body = request.octets.decode("latin-1").partition("\r\n\r\n")
        first, *self.lines = self.head.split("\r\n")
        self.method, target, _ = first.split(" ")
        self.path = re.sub(r"^https?://[^/]*", "", target)
        self.fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in self.lines)]

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known.lower() == name]


def sound(received: Received, *also: tuple[str, str], without: frozenset[str] = frozenset()) -> Answer:
    """A gateway that drops what it does not know, before an application that tells what it got."""
    if received.values("authorization") != [f"Bearer {TOKEN.decode()}"]:
        return Answer(401, (CHALLENGE,))
    if any(line.startswith(" ") or " :" in line or "\r" in line for line in received.lines):
        return Answer(400)
    if len(received.values("content-length") + received.values("transfer-encoding")) > 1:
        return Answer(400)
    if generously_read(received.path).startswith("/admin"):
        return Answer(403, (CHALLENGE,))
    told = [("X-Auth-Subject", CREDENTIAL.subject), ("X-Gatepass-Doctor", *received.values("x-gatepass-doctor"))]
    shown = dict([pair for pair in told if len(pair) == 2 and pair[0].lower() not in without])
    return Answer(200, (), json.dumps({"path": received.path, "headers": shown | dict(also)}).encode())


def examined(gateway: Callable[[Received], Outcome], in_time: Callable[[], bool] = lambda: True) -> list[Finding]:
    return list(examine(BENCH, lambda request: gateway(Received(request)), in_time))


def causes(findings: list[Finding]) -> set[Cause]:
    return {finding.cause for finding in findings if finding.cause is not None}


def test_a_gateway_that_does_all_right_is_sound() -> None:
    findings = examined(sound)
    assert causes(findings) == set()
    assert len(findings) == most_requests(BENCH) < 90


def test_a_gateway_that_removes_what_the_connection_field_names_is_found_out() -> None:
    def strips(received: Received) -> Answer:
        named = ",".join(received.values("connection")).lower().replace(" ", "").split(",")
        return sound(received, without=frozenset(named))

    findings = examined(strips)
    assert causes(findings) == {Cause.IDENTITY_STRIPPED}
    assert [finding.probe for finding in findings if finding.cause] == ["hop-by-hop", "hop-by-hop-spoofed"]


@pytest.mark.parametrize(
    ("probe", "odd"),
    [
        ("space-before-colon", re.compile(r"\r\n(X-Auth-\w+) : (.*)")),
        ("folded-value", re.compile(r"\r\n(X-Auth-\w+):\r\n (.*)")),
        ("folded-line", re.compile(r"\r\n (X-Auth-\w+): (.*)")),
        ("bare-cr", re.compile(r"\r(?!\n)(X-Auth-\w+): (.*)")),
    ],
)
def test_a_gateway_that_misreads_a_line_is_found_out(probe: str, odd: re.Pattern[str]) -> None:
    def misreads(received: Received) -> Answer:
        if found := odd.search(received.head):
            return Answer(200, (), json.dumps({found[1]: found[2]}).encode())
        return sound(received)

    findings = examined(misreads)
    assert {finding.probe: finding.cause for finding in findings if finding.cause} == {probe: Cause.MISREAD_FIELD}


def test_a_folded_line_that_became_a_part_of_its_header_is_sound() -> None:
    def unfolds(received: Received) -> Answer:
        head = re.sub(r"\r\n +", " ", received.head)
        return sound(Received(Request(received.method, head.encode("latin-1") + b"\r\n\r\n")))

    assert causes(examined(unfolds)) == set()


def test_on_a_route_that_is_open_nobody_can_become_somebody() -> None:
    def anonymous(received: Received) -> Answer:
        if received.values("authorization"):
            return sound(received)
        named = ((name, value) for name, value in received.fields if name.startswith("X-Auth-"))
        return Answer(200, (), json.dumps({"path": received.path, "headers": dict(named)}).encode())

    findings = {finding.probe: finding.cause for finding in examined(anonymous) if finding.cause}
    assert findings["no-token"] is Cause.OPEN
    assert findings["spoofed-without-token"] is Cause.SPOOFED


def test_a_token_behind_the_body_is_found_out() -> None:
    def trusts_trailers(received: Received) -> Answer:
        return Answer(200) if "Authorization: Bearer" in received.body else sound(received)

    findings = examined(trusts_trailers)
    assert [(finding.probe, finding.cause) for finding in findings if finding.cause] == [
        ("token-in-trailer", Cause.TRAILER)
    ]


def test_a_websocket_without_a_token_is_found_out() -> None:
    def opens(received: Received) -> Answer:
        return Answer(101) if received.values("upgrade") == ["websocket"] else sound(received)

    assert [finding.probe for finding in examined(opens) if finding.cause is Cause.TUNNEL] == [
        "websocket-without-token"
    ]


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri"])
def test_a_header_that_names_another_path_is_found_out(header: str) -> None:
    def believes(received: Received) -> Answer:
        named = received.values(header.lower())
        return Answer(200) if named == ["/hello"] else sound(received)

    findings = [finding for finding in examined(believes) if finding.cause]
    assert [(finding.probe, finding.cause) for finding in findings] == [
        (f"admin-{header.lower()}", Cause.POLICY_ESCAPED)
    ]


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_a_method_without_the_policy_is_found_out(method: str) -> None:
    def forgets(received: Received) -> Answer:
        return Answer(200) if (received.method, received.path) == (method, "/admin/") else sound(received)

    assert causes(examined(forgets)) == {Cause.POLICY_ESCAPED}


@pytest.mark.parametrize("how", [Silence("no answer", refuses=False), Answer(429)])
def test_what_is_not_answered_is_not_called_sound(how: Outcome) -> None:
    answers = iter([sound(Received(BENCH.request(*BENCH.controls, BENCH.good)))])
    findings = examined(lambda _: next(answers, how))
    assert causes(findings) == {Cause.NO_ANSWER}
    assert sum(finding.severity is Severity.FINE for finding in findings) == 1


def test_a_closed_connection_refuses_what_is_malformed_and_nothing_else() -> None:
    first = iter([sound(Received(BENCH.request(*BENCH.controls, BENCH.good)))])
    findings = examined(lambda _: next(first, Silence("closed", refuses=True)))
    fine = {finding.probe for finding in findings if finding.severity is Severity.FINE}
    assert {"good-token", "folded-line", "two-lengths"} <= fine
    assert fine.isdisjoint({"no-token", "spoofed", "underscores", "good-then-bad"})


def test_what_there_was_no_time_for_is_not_called_sound() -> None:
    ticks = iter(range(10))
    findings = examined(sound, lambda: next(ticks, None) is not None)
    assert sum(finding.cause is Cause.TIME_UP for finding in findings) == len(findings) - 11


def test_a_request_that_fails_is_reported_whatever_it_was_for() -> None:
    def fails(received: Received) -> Answer:
        return Answer(500) if received.method == "OPTIONS" else sound(received)

    assert causes(examined(fails)) == {Cause.SERVER_ERROR}


def test_no_repr_shows_the_token() -> None:
    things = (CREDENTIAL, BENCH, BENCH.request(BENCH.good), Answer(200, (("x", TOKEN.decode()),), TOKEN))
    for part in TOKEN.decode().split("."):
        assert all(part not in repr(thing) for thing in things)


def test_every_cause_has_advice() -> None:
    assert set(ADVICE) == set(Cause)
    assert Severity.FINE not in {advice.severity for advice in ADVICE.values()}


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({}, 0),
        ({Severity.FINE: 70}, 0),
        ({Severity.WEAK: 1}, 0),
        ({Severity.UNJUDGED: 1, Severity.WEAK: 1}, 2),
        ({Severity.LEAK: 1, Severity.UNJUDGED: 1}, 1),
    ],
)
def test_the_exit_status_follows_the_worst(counts: dict[Severity, int], status: int) -> None:
    full = {severity: counts.get(severity, 0) for severity in Severity}
    assert exit_status(full) == status
    assert summary(full).startswith(("nothing leaked: ", "it leaks: ", "nothing seen to leak, but")[status])


def test_every_folder_of_gateways_can_be_named() -> None:
    folders = {folder.name for folder in (ROOT / "deploy/gateways").iterdir() if folder.is_dir()}
    assert folders <= set(Gateway)


def _requests() -> Iterator[tuple[Request, Any]]:
    seen: list[Request] = []

    def keeps(request: Request) -> Outcome:
        seen.append(request)
        return sound(Received(request))

    list(examine(BENCH, keeps, lambda: True))
    for request in seen:
        yield request, Received(request)


def test_every_request_goes_to_the_host_and_spoofs_with_what_nobody_can_guess() -> None:
    for request, received in _requests():
        assert received.values("host")[0] in {"app.example", "gatepass-doctor.invalid"}
        for name in IDENTITY_HEADERS:
            assert all(value in {"", BENCH.marker(name)} for value in received.values(name.lower()))
        assert request.method == received.method
