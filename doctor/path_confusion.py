"""A protected path in many spellings: whoever reads one as another path than the gateway judged has leaked it."""

from collections.abc import Iterator
from typing import Final

from doctor.checks import challenged, preflight, refused
from doctor.echo import Echo, generously_read, paths
from doctor.findings import Cause
from doctor.messages import Answer
from doctor.probes import Bench, Judge, Probe, Verdict
from doctor.target import Target

_REWRITING: Final = ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri")


def spellings(path: str, target: Target) -> Iterator[tuple[str, str]]:
    """Names of spellings, and `path` in each: what a forgiving application reads as `path`, and a gateway may not."""
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


def admin_control(bench: Bench, admin_path: str) -> Probe:
    """Whether the protected path refuses the token: unless it does, tricks show nothing."""
    request = bench.request(*bench.controls, bench.good, path=admin_path)
    return Probe("admin", f"{admin_path} with a good token", request, _forbidden)


def admin_tricks(bench: Bench, admin_path: str, echo: Echo) -> Iterator[Probe]:
    """The probes of a path that refuses the token."""
    without = bench.request(path=admin_path)
    yield Probe("admin-without-token", f"{admin_path} without a token", without, refused(exactly_401=True))
    judge = _not_escaped(bench, admin_path)
    for name, path in spellings(admin_path, bench.target):
        sent = f"{admin_path} as {path.removeprefix(bench.target.origin)}, with a good token"
        request = bench.request(*bench.controls, bench.good, path=path)
        yield Probe(f"admin-{name}", sent, request, judge, malformed=True)
    for header in _REWRITING:
        line = f"{header}: {bench.target.path}"
        request = bench.request(*bench.controls, line, bench.good, path=admin_path)
        yield Probe(f"admin-{header.lower()}", f"{admin_path} with `{line}`", request, refused(Cause.POLICY_ESCAPED))
    if echo.path:
        lines = [f"{header}: {admin_path}" for header in _REWRITING]
        request = bench.request(*bench.controls, *lines, bench.good)
        names = ", ".join(_REWRITING)
        yield Probe("admin-rewritten", f"the route with {names} that name {admin_path}", request, judge)
    yield from _methods(bench, admin_path)


def _methods(bench: Bench, admin_path: str) -> Iterator[Probe]:
    for method, lines in (
        ("HEAD", ()),
        ("OPTIONS", ()),
        ("POST", ("Content-Length: 0", "X-HTTP-Method-Override: GET")),
    ):
        request = bench.request(*bench.controls, *lines, bench.good, method=method, path=admin_path)
        escaped = refused(Cause.POLICY_ESCAPED)
        judge = preflight(bench, admin_path, Cause.POLICY_ESCAPED) if method == "OPTIONS" else escaped
        yield Probe(f"admin-{method.lower()}", f"{method} {admin_path} with a good token", request, judge)


def _forbidden(answer: Answer, echo: Echo) -> Verdict:
    del echo
    if answer.status != 403:  # noqa: PLR2004 - RFC 9110 §15.5.4
        return Verdict(Cause.ADMIN_UNUSABLE, f"{answer.status}, and not 403")
    if challenged(answer):
        return Verdict(None, "403 and a Bearer challenge")
    return Verdict(Cause.NO_CHALLENGE, "403 without a Bearer challenge")


def _not_escaped(bench: Bench, admin_path: str) -> Judge:
    """A judge: the application got no path that it might read as the protected one."""

    def judge(answer: Answer, echo: Echo) -> Verdict:
        if not answer.accepted:
            return Verdict(None, f"{answer.status}: refused")
        if any(f"{generously_read(path)}/".startswith(admin_path) for path in paths(answer)):
            return Verdict(Cause.POLICY_ESCAPED, f"{answer.status}, and the application got it")
        if echo.path and bench.reached(answer, bench.target.path):
            return Verdict(None, f"{answer.status}, and the application got another path")
        return Verdict(Cause.POLICY_UNKNOWN, f"{answer.status}, and not which path the application got")

    return judge
