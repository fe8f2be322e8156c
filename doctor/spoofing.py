"""A good token beside identities that the client made up: the application may be told those of the token alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from doctor.echo import CONTROL_HEADER, Echo, folded, names_of, subject_shown
from doctor.findings import Cause
from doctor.messages import Answer
from doctor.probes import Bench, Judge, Probe, Verdict
from shared.identity_headers import IDENTITY_HEADERS

Spelling: TypeAlias = Callable[[str, str], list[str]]
"""The lines that spoof a header of this name with this value."""

SPELLINGS: Final[tuple[tuple[str, str, Cause, Spelling], ...]] = (
    ("spoofed", "as documented", Cause.SPOOFED, lambda name, value: [f"{name}: {value}"]),
    ("lower-case", "in lower case", Cause.SPOOFED, lambda name, value: [f"{name.lower()}: {value}"]),
    ("upper-case", "in upper case", Cause.SPOOFED, lambda name, value: [f"{name.upper()}: {value}"]),
    ("doubled-last", "twice, first empty", Cause.SPOOFED, lambda name, value: [f"{name}:", f"{name}: {value}"]),
    ("doubled-first", "twice, last empty", Cause.SPOOFED, lambda name, value: [f"{name}: {value}", f"{name}:"]),
    (
        "spaced",
        "with odd white space around the value",
        Cause.SPOOFED,
        lambda name, value: [f"{name}:\t  {value} \t"],
    ),
    (
        "underscores",
        "with `_` for `-`",
        Cause.UNDERSCORED,
        lambda name, value: [f"{name.replace('-', '_')}: {value}"],
    ),
    (
        "one-underscore",
        "with `_` for the last `-`",
        Cause.UNDERSCORED,
        lambda name, value: [f"{name.replace('Auth-', 'Auth_')}: {value}"],
    ),
    ("dots", "with `.` for `-`", Cause.UNDERSCORED, lambda name, value: [f"{name.replace('-', '.')}: {value}"]),
    (
        "both-spellings",
        "with `-`, and again with `_`",
        Cause.UNDERSCORED,
        lambda name, value: [f"{name}:", f"{name.replace('-', '_').upper()}: {value}"],
    ),
    (
        "space-before-colon",
        "with a space before the colon",
        Cause.MISREAD_FIELD,
        lambda name, value: [f"{name} : {value}"],
    ),
    (
        "folded-value",
        "with the value on a line of its own",
        Cause.MISREAD_FIELD,
        lambda name, value: [f"{name}:", f" {value}"],
    ),
    (
        "folded-line",
        "as the continuation of another header",
        Cause.MISREAD_FIELD,
        lambda name, value: [f"{CONTROL_HEADER}: a", f" {name}: {value}"],
    ),
    (
        "bare-cr",
        "behind a bare CR in another header",
        Cause.MISREAD_FIELD,
        lambda name, value: [f"{CONTROL_HEADER}: a\r{name}: {value}"],
    ),
)
_MALFORMED: Final = {Cause.MISREAD_FIELD}


def spoofing(bench: Bench) -> Iterator[Probe]:
    """The probes that need an echo."""
    for name, how, cause, spell in SPELLINGS:
        lines = [line for header in IDENTITY_HEADERS for line in spell(header, bench.marker(header))]
        request = bench.request(*bench.controls, *lines, bench.good)
        sent = f"a good token and all identity headers {how}"
        yield Probe(name, sent, request, not_told(bench, cause), malformed=cause in _MALFORMED)
    yield _trailer(bench)
    yield from _hop_by_hop(bench)


def anonymous_spoofing(bench: Bench) -> Probe:
    """The probe of a route that is open without a token: who is nobody may not become somebody."""
    lines = [f"{name}: {bench.marker(name)}" for name in IDENTITY_HEADERS]
    judge = not_told(bench, Cause.SPOOFED)
    return Probe(
        "spoofed-without-token",
        "all identity headers and no token",
        bench.request(*bench.controls, *lines),
        lambda answer, echo: judge(answer, replace(echo, identity=False)),
    )


def not_told(bench: Bench, cause: Cause) -> Judge:
    """A judge: the application was told the token's subject and none of the markers, or nothing at all."""

    def judge(answer: Answer, echo: Echo) -> Verdict:
        if not answer.accepted:
            return Verdict(None, f"{answer.status}: refused")
        if told := [header for header in IDENTITY_HEADERS if _told(answer, bench.marker(header))]:
            which = "identity headers, all eight" if len(told) == len(IDENTITY_HEADERS) else ", ".join(told)
            return Verdict(cause, f"{answer.status}, and the application was told the made-up {which}")
        if not bench.reached(answer, bench.target.path):
            return Verdict(Cause.NO_ECHO, f"{answer.status}, and nothing of what the application got")
        if echo.identity and not subject_shown(answer, bench.credential.subject):
            return Verdict(Cause.IDENTITY_STRIPPED, f"{answer.status}, and the application was told no subject")
        who = "the token's subject" if echo.identity else "nobody"
        return Verdict(None, f"{answer.status}, and the application was told {who}")

    return judge


def _told(answer: Answer, marker: str) -> bool:
    """Whether the marker stands anywhere but in the header that a folded line lawfully becomes a part of."""
    return any(folded(name) != folded(CONTROL_HEADER) for name in names_of(answer, marker))


def _trailer(bench: Bench) -> Probe:
    fields = "".join(f"{name}: {bench.marker(name)}\r\n" for name in IDENTITY_HEADERS)
    request = bench.request(
        *bench.controls,
        bench.good,
        "Transfer-Encoding: chunked",
        f"Trailer: {', '.join(IDENTITY_HEADERS)}",
        method="POST",
        body=f"0\r\n{fields}\r\n".encode("ascii"),
    )
    sent = "POST with a good token, and all identity headers behind the body"
    return Probe("trailer", sent, request, not_told(bench, Cause.TRAILER), malformed=True)


def _hop_by_hop(bench: Bench) -> Iterator[Probe]:
    """What a client names in `Connection` is removed on the way (RFC 9110 §7.6.1): the identity must not be."""
    everything = ", ".join(["close", *IDENTITY_HEADERS])
    spoofed = [f"{name}: {bench.marker(name)}" for name in IDENTITY_HEADERS]
    judge = not_told(bench, Cause.SPOOFED)
    for name, sent, lines, connection in (
        ("hop-by-hop", "a good token and `Connection: X-Auth-Subject`", [], "close, X-Auth-Subject"),
        ("hop-by-hop-spoofed", "the same for all identity headers, spoofed as well", spoofed, everything),
        ("hop-by-hop-token", "a good token and `Connection: Authorization`", [], "close, Authorization"),
    ):
        yield Probe(name, sent, bench.request(*bench.controls, *lines, bench.good, connection=connection), judge)
