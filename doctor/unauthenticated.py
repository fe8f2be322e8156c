"""Requests without a good token: none of them may reach the application, whatever else they say."""

from collections.abc import Iterator
from typing import Final

from doctor.checks import not_reached, preflight, refused
from doctor.findings import Cause
from doctor.path_confusion import spellings
from doctor.probes import Bench, Probe, bearer
from shared.identity_headers import IDENTITY_HEADERS

FOREIGN_HOST: Final = "gatepass-doctor.invalid"
"""A host that cannot be (RFC 2606 §2). It is named to the gateway and never looked up."""

_OPEN_SPELLINGS: Final = {"double-slash", "encoded-slash", "parameter", "encoded-letter", "absolute-form"}
_ELSEWHERE: Final = (
    "X-Forwarded-Uri: /healthz",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-URL: /healthz",
    "X-Original-URI: /healthz",
    "X-Original-Method: OPTIONS",
    "X-Rewrite-URL: /healthz",
)


def no_token(bench: Bench) -> Probe:
    """Whether the route is closed at all."""
    return Probe("no-token", "GET without a token", bench.request(), refused(exactly_401=True))


def refusals(bench: Bench) -> Iterator[Probe]:
    """The probes of a route that is closed without a token."""
    yield from _other_places(bench)
    yield from _other_methods(bench)
    yield from _other_routes(bench)


def bad_tokens(bench: Bench) -> Iterator[Probe]:
    """The probes of tokens that must never pass, not even where none is asked for."""
    credential = bench.credential
    for name, sent, token in (
        ("garbage-token", "a token that is none", b"not.a.token"),
        ("tampered-token", "the token, its subject changed, the signature kept", credential.tampered()),
        ("expired-token", "the token, its expiry moved into the past, the signature kept", credential.expired()),
        ("unsigned-token", "the token with `alg` none and no signature", credential.unsigned()),
        ("bare-token", "the token without its signature", credential.bare()),
    ):
        yield Probe(name, sent, bench.request(bearer(token)), refused(exactly_401=True))


def _other_places(bench: Bench) -> Iterator[Probe]:
    """A good token, or an identity, where none is looked for."""
    token = bench.credential.token.decode("ascii")
    query = bench.request(path=f"{bench.target.path}?access_token={token}")
    yield Probe(
        "token-in-query", "a good token in the query alone", query, refused(Cause.TOKEN_IN_QUERY, exactly_401=True)
    )
    trailer = bench.request(
        "Transfer-Encoding: chunked",
        "Trailer: Authorization",
        method="POST",
        body=f"0\r\n{bench.good}\r\n\r\n".encode("ascii"),
    )
    yield Probe(
        "token-in-trailer", "a good token behind the body alone", trailer, refused(Cause.TRAILER), malformed=True
    )
    spoofed = bench.request(*(f"{name}: {bench.marker(name)}" for name in IDENTITY_HEADERS))
    yield Probe("spoofed-without-token", "all identity headers and no token", spoofed, refused(exactly_401=True))
    yield Probe(
        "forwarded",
        "no token, and headers that name another path and method",
        bench.request(*_ELSEWHERE),
        refused(exactly_401=True),
    )
    agent = bench.request("User-Agent: kube-probe/1.32")
    yield Probe("health-agent", "no token, and the User-Agent of a health check", agent, refused(exactly_401=True))


def _other_methods(bench: Bench) -> Iterator[Probe]:
    yield Probe("head", "HEAD without a token", bench.request(method="HEAD"), refused(exactly_401=True))
    options = bench.request(*bench.controls, method="OPTIONS")
    yield Probe("options", "OPTIONS without a token", options, preflight(bench, bench.target.path))
    override = bench.request(
        "X-HTTP-Method-Override: OPTIONS", "X-HTTP-Method: OPTIONS", "X-Method-Override: OPTIONS"
    )
    yield Probe("method-override", "GET without a token that asks to be OPTIONS", override, refused(exactly_401=True))
    yield Probe("http-1.0", "GET by HTTP/1.0 without a token", bench.request(version="HTTP/1.0"), refused())


def _other_routes(bench: Bench) -> Iterator[Probe]:
    """The same route by other names: what is elsewhere may answer, the application must not."""
    judge = not_reached(bench)
    host = bench.request(*bench.controls, host=FOREIGN_HOST)
    yield Probe("foreign-host", "no token, and the name of another host", host, judge)
    absolute = bench.request(*bench.controls, path=f"http://{FOREIGN_HOST}{bench.target.path}")
    yield Probe("absolute-foreign", "no token, and a target that names another host", absolute, judge, malformed=True)
    if bench.target.path != "/":
        for name, path in spellings(bench.target.path, bench.target):
            if name not in _OPEN_SPELLINGS:
                continue
            request = bench.request(*bench.controls, path=path)
            yield Probe(
                f"open-{name}",
                f"the route as {name.replace('-', ' ')}, without a token",
                request,
                judge,
                malformed=True,
            )
