"""The command: reads the token, runs the probes and formats the findings. It prints only through `write_line`."""

import argparse
import json
import re
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final

from doctor.errors import DoctorError
from doctor.findings import Gateway, Issue, Severity
from doctor.probe import ProbeContext
from doctor.raw_client import REQUEST_SECONDS, RawHttpClient
from doctor.runner import Finding, max_requests, run
from doctor.target import Target, parse_admin_path
from doctor.token import AccessToken
from shared.access_token import MAX_TOKEN_BYTES
from shared.identity_headers import CLAIM_HEADER_NAME, CLAIM_HEADER_PREFIX

TOKEN_VARIABLE: Final = "GATEPASS_TOKEN"  # noqa: S105 - the name of a variable
TOTAL_SECONDS: Final = 120.0
EXIT_VULNERABLE, EXIT_INCONCLUSIVE = 1, 2
_MAX_EXAMPLES: Final = 2
_is_claim_header: Final = re.compile(CLAIM_HEADER_NAME).fullmatch
_SEVERITY_WIDTH: Final = max(len(severity) for severity in Severity)


def doctor(
    options: argparse.Namespace, environ: Mapping[str, str], stdin: BinaryIO, write_line: Callable[[str], None]
) -> int:
    """Test a gateway. Return the exit status: 0 no vulnerability, 1 vulnerable, 2 inconclusive.

    Args:
        options: the parsed command line.
        environ: may hold the token.
        stdin: holds the token if `environ` does not.
        write_line: receives each line of output as soon as it is known.

    Raises:
        DoctorError: an argument or the token is unusable; nothing was sent.
    """
    target = Target.parse(options.url, allow_http=options.allow_http)
    admin_path = parse_admin_path(options.admin_path, target) if options.admin_path else None
    token = AccessToken.parse(_read_token(environ, stdin), time.time())
    gateway = _parse_gateway(options.gateway)
    claim_headers = _parse_claim_headers(options.claim_header)
    client = RawHttpClient(target, _tls_context(options.ca_file))
    context = ProbeContext(target, token, f"gp{secrets.token_hex(8)}n", admin_path, claim_headers)
    deadline = time.monotonic() + TOTAL_SECONDS
    findings = run(context, client.send, lambda: time.monotonic() < deadline, gateway)
    if not options.json:
        write_line(
            f"at most {max_requests(context)} requests to {target.origin}, one at a time, "
            f"{REQUEST_SECONDS:g} s each, {TOTAL_SECONDS:g} s in total"
        )
        if admin_path is None:
            write_line("paths that require a scope are not tested: name one with --admin-path")
    counts = Counter(finding.severity for finding in _print_findings(findings, write_line, as_json=options.json))
    totals = {severity: counts[severity] for severity in Severity}
    write_line(json.dumps(totals) if options.json else summary(totals))
    return exit_status(totals)


def _print_findings(
    findings: Iterable[Finding], write_line: Callable[[str], None], *, as_json: bool
) -> list[Finding]:
    """Write a line per finding as it arrives, then (not with `as_json`) the details of each issue."""
    printed = []
    for finding in findings:
        write_line(
            json.dumps(asdict(finding))
            if as_json
            else f"{finding.severity:<{_SEVERITY_WIDTH}}  {finding.probe}: {finding.received}"
        )
        printed.append(finding)
    if not as_json:
        for issue in Issue:
            if same := [finding for finding in printed if finding.issue is issue]:
                write_line("\n".join(format_details(issue, same)))
        write_line("")
    return printed


def format_details(issue: Issue, findings: list[Finding]) -> Iterator[str]:
    """Return the lines that explain `findings`, which all have this issue, with its impact and fix."""
    first = findings[0]
    yield ""
    yield f"{first.severity.upper()}: {issue.replace('_', ' ')}"
    for finding in findings[:_MAX_EXAMPLES]:
        yield f"  sent      {finding.sent}"
        yield f"  received  {finding.received}"
    if more := findings[_MAX_EXAMPLES:]:
        yield f"  also      {', '.join(finding.probe for finding in more)}"
    yield f"  impact    {first.impact}"
    yield f"  fix       {first.fix}"
    if first.reference:
        yield f"  see       {first.reference}"


def summary(counts: Mapping[Severity, int]) -> str:
    """Return the last line of the report."""
    conclusion = {
        0: "no vulnerability found",
        EXIT_VULNERABLE: "the gateway is vulnerable",
        EXIT_INCONCLUSIVE: "no vulnerability found, but some checks were inconclusive",
    }
    totals = ", ".join(f"{counts[severity]} {severity}" for severity in Severity)
    return f"{conclusion[exit_status(counts)]}: {totals}"


def exit_status(counts: Mapping[Severity, int]) -> int:
    """Return the exit status for these findings. Warnings alone do not change it."""
    if counts[Severity.VULNERABLE]:
        return EXIT_VULNERABLE
    # An inconclusive check must not look like a passed one to a pipeline.
    return EXIT_INCONCLUSIVE if counts[Severity.INCONCLUSIVE] else 0


def _read_token(environ: Mapping[str, str], stdin: BinaryIO) -> bytes:
    if value := environ.get(TOKEN_VARIABLE):
        return value.encode("utf-8", "surrogateescape")
    return b"" if stdin.isatty() else stdin.read(2 * MAX_TOKEN_BYTES)


def _parse_gateway(name: str | None) -> Gateway | None:
    if name is not None and name not in set(Gateway):
        raise DoctorError(f"--gateway: unknown gateway; choose one of {', '.join(Gateway)}")
    return Gateway(name) if name else None


def _parse_claim_headers(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if _is_claim_header(name) is None:
            raise DoctorError(f"--claim-header: a name like {CLAIM_HEADER_PREFIX}Tenant, as in the policy file")
    return tuple(dict.fromkeys(names))


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise DoctorError(
            f"--ca-file: cannot read PEM certificates from it ({type(error).__name__}); check the path and its format"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
