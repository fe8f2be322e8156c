"""The whole examination in order: what can be seen, then every probe that can be judged, a finding for each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from doctor.baseline import CONTROL, CONTROL_SENT, control_verdicts, echo_verdicts, gateway_of, learn
from doctor.bypass import detours_with_token, own_pages, tunnels
from doctor.echo import Echo
from doctor.findings import ADVICE, Cause, Gateway, Severity
from doctor.messages import Answer, Outcome, Request
from doctor.path_confusion import admin_control, admin_tricks
from doctor.probes import Bench, Probe, Verdict
from doctor.request_smuggling import ambiguities
from doctor.spoofing import anonymous_spoofing, spoofing
from doctor.unauthenticated import bad_tokens, no_token, refusals

Ask: TypeAlias = Callable[[Request], Outcome]


@dataclass(frozen=True)
class Finding:
    """One result, in words that a person can act on; `matters`, `change` and `see` are empty if all is well."""

    probe: str
    severity: Severity
    cause: Cause | None
    sent: str
    got: str
    matters: str = ""
    change: str = ""
    see: str = ""


def examine(bench: Bench, ask: Ask, in_time: Callable[[], bool], gateway: Gateway | None = None) -> Iterator[Finding]:
    """Send the probes one after the other, and tell what each found.

    Args:
        bench: what requests are made of.
        ask: sends one and gives what came back.
        in_time: whether there is time for another request.
        gateway: what it is, if that is known; else its `Server` field may say.
    """
    control = ask(bench.request(*bench.controls, bench.good))
    echo, gateway = learn(bench, control), gateway or gateway_of(control)
    run = _Run(echo, gateway, ask, in_time)
    for verdict in control_verdicts(bench, control, echo):
        yield finding(CONTROL, CONTROL_SENT, verdict, gateway)
    for verdict in echo_verdicts(control, echo):
        yield finding("echo", CONTROL_SENT, verdict, gateway)
    if not isinstance(control, Answer):
        return
    closed = run.one(no_token(bench))
    yield closed
    yield from run.all(chain(bad_tokens(bench), own_pages(bench)))
    if closed.cause is not Cause.OPEN:
        yield from run.all(chain(refusals(bench), tunnels(bench), ambiguities(bench) if control.accepted else ()))
    elif echo:
        yield run.one(anonymous_spoofing(bench))
    if not control.accepted:
        return
    yield from run.all(detours_with_token(bench))
    if echo:
        yield from run.all(spoofing(bench))
    if bench.admin_path:
        refuses = run.one(admin_control(bench, bench.admin_path))
        yield refuses
        if refuses.cause in (None, Cause.NO_CHALLENGE):
            yield from run.all(admin_tricks(bench, bench.admin_path, echo))


def most_requests(bench: Bench) -> int:
    """How many requests `examine` sends at most."""
    lists = (bad_tokens, own_pages, refusals, tunnels, ambiguities, detours_with_token, spoofing)
    most = len([CONTROL, no_token(bench), *chain.from_iterable(probes(bench) for probes in lists)])
    if bench.admin_path:
        tricks = admin_tricks(bench, bench.admin_path, Echo(path=True))
        most += len([admin_control(bench, bench.admin_path), *tricks])
    return most


def finding(probe: str, sent: str, verdict: Verdict, gateway: Gateway | None) -> Finding:
    """A verdict with what a person needs to act on it."""
    if verdict.cause is None:
        return Finding(probe, Severity.FINE, None, sent, verdict.got)
    advice = ADVICE[verdict.cause]
    told = advice.severity in (Severity.LEAK, Severity.WEAK)
    see = f"deploy/gateways/{gateway}/" if gateway else "deploy/gateways/README.md"
    return Finding(
        probe=probe,
        severity=advice.severity,
        cause=verdict.cause,
        sent=sent,
        got=verdict.got,
        matters=advice.matters,
        change=advice.change_at(gateway),
        see=see if told else "",
    )


@dataclass(frozen=True)
class _Run:
    echo: Echo
    gateway: Gateway | None
    ask: Ask
    in_time: Callable[[], bool]

    def all(self, probes: Iterable[Probe]) -> Iterator[Finding]:
        return map(self.one, probes)

    def one(self, probe: Probe) -> Finding:
        if not self.in_time():
            return finding(probe.name, probe.sent, Verdict(Cause.TIME_UP, "not sent"), self.gateway)
        return finding(probe.name, probe.sent, probe.judged(self.ask(probe.request), self.echo), self.gateway)
