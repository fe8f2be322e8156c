"""Requests that have two readings, from a client whose token is good: two credentials, two lengths."""

from collections.abc import Iterator
from typing import Final

from doctor.checks import refused
from doctor.echo import Echo
from doctor.findings import Cause
from doctor.messages import Answer
from doctor.probes import Bench, Probe, Verdict, bearer

_CHUNKED_NOTHING: Final = b"0\r\n\r\n"
"""A whole body in both readings: five bytes, or no chunk. Nothing is left over for the next request of anybody."""


def ambiguities(bench: Bench) -> Iterator[Probe]:
    """The probes that need a token that passes, and no echo."""
    yield from _two_credentials(bench)
    yield from _two_lengths(bench)


def _two_credentials(bench: Bench) -> Iterator[Probe]:
    bad = bearer(bench.credential.tampered())
    joined = f"{bench.good}, {bad.removeprefix('Authorization: ')}"
    judge = refused(Cause.TWO_CREDENTIALS)
    for name, how, lines in (
        ("good-then-bad", "two Authorization fields, a good token in the first", (bench.good, bad)),
        ("bad-then-good", "two Authorization fields, a good token in the last", (bad, bench.good)),
        ("two-in-one", "one Authorization field with two tokens", (joined,)),
    ):
        yield Probe(name, how, bench.request(*lines), judge)


def _two_lengths(bench: Bench) -> Iterator[Probe]:
    length = f"Content-Length: {len(_CHUNKED_NOTHING)}"
    for name, how, coding in (
        ("two-lengths", "Content-Length and Transfer-Encoding", "Transfer-Encoding: chunked"),
        ("hidden-length", "Content-Length and a misspelt Transfer-Encoding", "Transfer-Encoding : chunked"),
    ):
        request = bench.request(bench.good, length, coding, method="POST", body=_CHUNKED_NOTHING)
        yield Probe(name, f"POST with {how}", request, _one_length, malformed=True)


def _one_length(answer: Answer, echo: Echo) -> Verdict:
    del echo
    if answer.accepted:
        return Verdict(Cause.TWO_LENGTHS, f"{answer.status}: it passed")
    return Verdict(None, f"{answer.status}: refused")
