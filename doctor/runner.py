"""The whole test in order: the baseline, then every probe whose result can be seen, with one finding for each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeAlias

from doctor.baseline import BASELINE, BASELINE_SENT, baseline_results, detect_echo, detect_gateway
from doctor.echo import Echo
from doctor.findings import CATALOGUE, Gateway, Issue, Severity
from doctor.messages import Outcome, Request, Response
from doctor.probe import Probe, ProbeContext, Result
from doctor.probes.bypass import bypass_with_token, tunnels, verifier_endpoints
from doctor.probes.path_confusion import admin_baseline, admin_bypasses
from doctor.probes.request_smuggling import request_smuggling
from doctor.probes.spoofing import anonymous_spoofing, spoofing
from doctor.probes.unauthenticated import invalid_tokens, no_token, unauthenticated

Send: TypeAlias = Callable[[Request], Outcome]


@dataclass(frozen=True)
class Finding:
    """The result of one probe, as printed by `--json`. `impact`, `fix` and `reference` are empty if it passed."""

    probe: str
    severity: Severity
    issue: Issue | None
    sent: str
    received: str
    impact: str = ""
    fix: str = ""
    reference: str = ""


def run(
    context: ProbeContext, send: Send, has_time: Callable[[], bool], gateway: Gateway | None = None
) -> Iterator[Finding]:
    """Send the probes one after the other, and yield the finding of each.

    Args:
        context: the parts that requests are built from.
        send: sends one request and returns the outcome.
        has_time: returns whether there is time for another request.
        gateway: the gateway if known, else it is detected from the `Server` field.
    """
    baseline = send(context.request(*context.canary_headers, context.authorization))
    gateway = gateway or detect_gateway(baseline)
    context = replace(context, echo=detect_echo(context, baseline))

    def run_one(probe: Probe) -> Finding:
        result = probe.evaluate(send(probe.request)) if has_time() else Result(Issue.TIMEOUT, "not sent")
        return finding(probe.name, probe.sent, result, gateway)

    for name, result in baseline_results(context, baseline):
        yield finding(name, BASELINE_SENT, result, gateway)
    if not isinstance(baseline, Response):
        return
    without_token = run_one(no_token(context))
    yield without_token
    yield from map(run_one, chain(invalid_tokens(context), verifier_endpoints(context)))
    if without_token.issue is not Issue.UNAUTHENTICATED_ACCESS:
        smuggling = request_smuggling(context) if baseline.accepted else ()
        yield from map(run_one, chain(unauthenticated(context), tunnels(context), smuggling))
    elif context.echo:
        yield run_one(anonymous_spoofing(context))
    if not baseline.accepted:
        return
    yield from map(run_one, bypass_with_token(context))
    if context.echo:
        yield from map(run_one, spoofing(context))
    if context.admin_path:
        admin = run_one(admin_baseline(context, context.admin_path))
        yield admin
        if admin.issue in (None, Issue.MISSING_CHALLENGE):
            yield from map(run_one, admin_bypasses(context, context.admin_path))


def max_requests(context: ProbeContext) -> int:
    """Return the largest number of requests that `run` can send."""
    kinds = (
        invalid_tokens, verifier_endpoints, unauthenticated, tunnels, request_smuggling, bypass_with_token, spoofing,
    )  # fmt: skip
    count = len([BASELINE, no_token(context), *chain.from_iterable(probes(context) for probes in kinds)])
    if context.admin_path:
        count += len([admin_baseline(context, context.admin_path)])
        count += len([*admin_bypasses(replace(context, echo=Echo(path=True)), context.admin_path)])
    return count


def finding(probe: str, sent: str, result: Result, gateway: Gateway | None) -> Finding:
    """Return the finding for `result`, with the remediation for `gateway`."""
    if result.issue is None:
        return Finding(probe, Severity.PASS, None, sent, result.received)
    remediation = CATALOGUE[result.issue]
    is_configuration = remediation.severity in (Severity.VULNERABLE, Severity.WARNING)
    reference = f"deploy/gateways/{gateway}/" if gateway else "deploy/gateways/README.md"
    return Finding(
        probe=probe,
        severity=remediation.severity,
        issue=result.issue,
        sent=sent,
        received=result.received,
        impact=remediation.impact,
        fix=remediation.fix_for(gateway),
        reference=reference if is_configuration else "",
    )
