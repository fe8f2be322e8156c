"""Variants of a protected path. If the application reads one differently than the gateway, it bypasses the policy."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from doctor.echo import normalize_leniently, paths
from doctor.findings import Issue
from doctor.messages import Response
from doctor.probe import Check, Probe, ProbeContext, Result, has_bearer_challenge, preflight_rejected, rejected
from doctor.target import Target

_REWRITE_HEADERS: Final = ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri")


def path_variants(path: str, target: Target) -> Iterator[tuple[str, str]]:
    """Yield names and variants of `path` that a lenient application reads as `path` and a gateway may not."""
    first, slash, rest = path[1:].partition("/")
    rest = slash + rest
    yield "double-slash", f"//{first}{rest}"
    yield "dot-segment", f"/./{first}{rest}"
    yield "parent", f"/x/../{first}{rest}"
    yield "encoded-slash", f"/x/..%2f{first}{rest}"
    yield "upper-case-encoded-slash", f"/x/..%2F{first}{rest}"
    yield "encoded-dots", f"/x/%2E%2E/{first}{rest}"
    yield "encoded-backslash", f"/x/..%5c{first}{rest}"
    yield "backslash", f"/x\\..\\{first}{rest}"
    yield "parameter", f"/{first};x{rest}"
    yield "parameter-dots", f"/x/..;/{first}{rest}"
    yield "encoded-letter", f"/%{ord(first[0]):02x}{first[1:]}{rest}"
    yield "absolute-form", f"{target.origin}{path}"
    yield "final-newline", f"{path.rstrip('/')}%0a"
    if path.endswith("/"):
        # HAProxy decodes nothing of a path with an invalid encoding, so that no rule for the decoded one matches.
        yield "invalid-encoding", f"{path}%zz"


def admin_baseline(context: ProbeContext, admin_path: str) -> Probe:
    """Return the probe that the protected path rejects the token. If it does not, bypasses cannot be seen."""
    request = context.request(*context.canary_headers, context.authorization, path=admin_path)
    return Probe("admin", f"{admin_path} with a valid token", request, _forbidden)


def admin_bypasses(context: ProbeContext, admin_path: str) -> Iterator[Probe]:
    """Yield the probes that try to reach a path that rejects the token."""
    without = context.request(path=admin_path)
    yield Probe("admin-without-token", f"{admin_path} without a token", without, rejected(exactly_401=True))
    check = _policy_not_bypassed(context, admin_path)
    for name, path in path_variants(admin_path, context.target):
        sent = f"{admin_path} as {path.removeprefix(context.target.origin)}, with a valid token"
        request = context.request(*context.canary_headers, context.authorization, path=path)
        yield Probe(f"admin-{name}", sent, request, check, malformed=True)
    for header in _REWRITE_HEADERS:
        line = f"{header}: {context.target.path}"
        request = context.request(*context.canary_headers, line, context.authorization, path=admin_path)
        yield Probe(f"admin-{header.lower()}", f"{admin_path} with `{line}`", request, rejected(Issue.POLICY_BYPASS))
    if context.echo.path:
        lines = [f"{header}: {admin_path}" for header in _REWRITE_HEADERS]
        request = context.request(*context.canary_headers, *lines, context.authorization)
        names = ", ".join(_REWRITE_HEADERS)
        yield Probe("admin-rewritten", f"the route, with {admin_path} in {names}", request, check)
    yield from _other_methods(context, admin_path)


def _other_methods(context: ProbeContext, admin_path: str) -> Iterator[Probe]:
    bypass = rejected(Issue.POLICY_BYPASS)
    for method, lines, check in (
        ("HEAD", (), bypass),
        ("OPTIONS", (), preflight_rejected(context, admin_path, Issue.POLICY_BYPASS)),
        ("POST", ("Content-Length: 0", "X-HTTP-Method-Override: GET"), bypass),
    ):
        request = context.request(
            *context.canary_headers, *lines, context.authorization, method=method, path=admin_path
        )
        yield Probe(f"admin-{method.lower()}", f"{method} {admin_path} with a valid token", request, check)


def _forbidden(response: Response) -> Result:
    if response.status != HTTPStatus.FORBIDDEN:
        return Result(Issue.UNSUITABLE_ADMIN_PATH, f"{response.status} instead of 403")
    if has_bearer_challenge(response):
        return Result(None, "403 with a Bearer challenge")
    return Result(Issue.MISSING_CHALLENGE, "403 without a Bearer challenge")


def _policy_not_bypassed(context: ProbeContext, admin_path: str) -> Check:
    """Return a check that the application received no path that it may read as the protected one."""

    def check(response: Response) -> Result:
        if not response.accepted:
            return Result(None, f"{response.status}: rejected")
        if any(f"{normalize_leniently(path)}/".startswith(admin_path) for path in paths(response)):
            return Result(Issue.POLICY_BYPASS, f"{response.status}, the application received the protected path")
        if context.echo.path and context.reached_application(response, context.target.path):
            return Result(None, f"{response.status}, the application received another path")
        return Result(
            Issue.POSSIBLE_POLICY_BYPASS, f"{response.status}, without the path that the application received"
        )

    return check
