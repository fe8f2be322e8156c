"""The command: where the token comes from, and how findings are told. It prints nothing itself."""

import argparse
import json
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Final

from doctor.findings import Cause, Gateway, Severity
from doctor.probes import Bench
from doctor.raw_client import REQUEST_SECONDS, Wire
from doctor.runner import Finding, examine, most_requests
from doctor.target import Target, TargetError, parse_admin_path
from doctor.token import MAX_TOKEN_BYTES, Credential, CredentialError

TOKEN_VARIABLE: Final = "GATEPASS_TOKEN"  # noqa: S105 - the name of a variable
TOTAL_SECONDS: Final = 120.0
LEAKED, NOT_JUDGED = 1, 2
_EXAMPLES: Final = 2
_WIDTH: Final = max(len(severity) for severity in Severity)


class DoctorError(Exception):
    """Why nothing was sent, in one line with the next step."""


def doctor(
    options: argparse.Namespace, environ: Mapping[str, str], stdin: BinaryIO, say: Callable[[str], None]
) -> int:
    """Examine a gateway. Returns the exit status: 0 nothing leaked, 1 something did, 2 not all could be judged.

    Args:
        options: as `python -m doctor --help` tells them.
        environ: may hold the token.
        stdin: holds it otherwise.
        say: is given each line as soon as there is one.

    Raises:
        DoctorError: nothing was sent.
    """
    try:
        target = Target.parse(options.url, allow_http=options.allow_http)
        admin_path = parse_admin_path(options.admin_path, target) if options.admin_path else None
        credential = Credential.parse(_token(environ, stdin), time.time())
        gateway = _gateway(options.gateway)
        wire = Wire(target, _trust(options.ca_file))
    except (TargetError, CredentialError) as error:
        raise DoctorError(str(error)) from error
    bench = Bench(target, credential, f"gp{secrets.token_hex(8)}n", admin_path)
    end = time.monotonic() + TOTAL_SECONDS
    findings = examine(bench, wire.ask, lambda: time.monotonic() < end, gateway)
    if not options.json:
        say(
            f"at most {most_requests(bench)} requests to {target.origin}, one at a time, "
            f"{REQUEST_SECONDS:g} s each, {TOTAL_SECONDS:g} s in all"
        )
        if admin_path is None:
            say("paths that need a scope are not tried: name one with --admin-path")
    counts = Counter(finding.severity for finding in _told(findings, say, as_json=options.json))
    say(json.dumps({severity: counts[severity] for severity in Severity}) if options.json else summary(counts))
    return exit_status(counts)


def _told(findings: Iterable[Finding], say: Callable[[str], None], *, as_json: bool) -> list[Finding]:
    """Tell each finding at once, and for people what to act on at the end, in full."""
    told = []
    for finding in findings:
        say(
            json.dumps(asdict(finding))
            if as_json
            else f"{finding.severity:<{_WIDTH}}  {finding.probe}: {finding.got}"
        )
        told.append(finding)
    if not as_json:
        for cause in Cause:
            if found := [finding for finding in told if finding.cause is cause]:
                say("\n".join(in_full(cause, found)))
        say("")
    return told


def in_full(cause: Cause, findings: list[Finding]) -> Iterator[str]:
    """What has one cause and one cure, for who has to act on it."""
    first = findings[0]
    yield ""
    yield f"{first.severity.upper()}: {cause.replace('_', ' ')}"
    for finding in findings[:_EXAMPLES]:
        yield f"  sent     {finding.sent}"
        yield f"  got      {finding.got}"
    if more := findings[_EXAMPLES:]:
        yield f"  also     {', '.join(finding.probe for finding in more)}"
    yield f"  matters  {first.matters}"
    yield f"  change   {first.change}"
    if first.see:
        yield f"  see      {first.see}"


def summary(counts: Mapping[Severity, int]) -> str:
    """The last line for people."""
    verdict = {
        0: "nothing leaked",
        LEAKED: "it leaks",
        NOT_JUDGED: "nothing seen to leak, but not all could be judged",
    }
    return f"{verdict[exit_status(counts)]}: {', '.join(f'{severity} {counts[severity]}' for severity in Severity)}"


def exit_status(counts: Mapping[Severity, int]) -> int:
    """What was not judged is never taken for sound; a weakness is told and leaks nothing."""
    if counts[Severity.LEAK]:
        return LEAKED
    return NOT_JUDGED if counts[Severity.UNJUDGED] else 0


def _token(environ: Mapping[str, str], stdin: BinaryIO) -> bytes:
    if given := environ.get(TOKEN_VARIABLE):
        return given.encode("utf-8", "surrogateescape")
    return b"" if stdin.isatty() else stdin.read(2 * MAX_TOKEN_BYTES)


def _gateway(name: str | None) -> Gateway | None:
    if name is not None and name not in set(Gateway):
        raise DoctorError(f"--gateway: none of {', '.join(Gateway)}")
    return Gateway(name) if name else None


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise DoctorError(f"--ca-file: no PEM certificates can be read ({type(error).__name__})") from error
    tls.set_alpn_protocols(["http/1.1"])
    return tls
