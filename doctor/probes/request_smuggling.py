"""Requests that two parsers may read differently, sent with a valid token: two credentials, two body lengths."""

from collections.abc import Iterator
from typing import Final

from doctor.findings import Issue
from doctor.messages import Response
from doctor.probe import Probe, ProbeContext, Result, bearer, rejected

# A complete body in both readings (five bytes, or no chunk): nothing is left to prefix another client's request.
_EMPTY_CHUNKED_BODY: Final = b"0\r\n\r\n"


def request_smuggling(context: ProbeContext) -> Iterator[Probe]:
    """Yield the probes of ambiguous requests. They need a valid token and no echo."""
    yield from _two_credentials(context)
    yield from _two_lengths(context)


def _two_credentials(context: ProbeContext) -> Iterator[Probe]:
    invalid = bearer(context.token.tampered())
    joined = f"{context.authorization}, {invalid.removeprefix('Authorization: ')}"
    check = rejected(Issue.MULTIPLE_CREDENTIALS)
    for name, sent, lines in (
        ("valid-then-invalid", "two Authorization fields, the valid token first", (context.authorization, invalid)),
        ("invalid-then-valid", "two Authorization fields, the valid token last", (invalid, context.authorization)),
        ("two-in-one", "one Authorization field with two tokens", (joined,)),
    ):
        yield Probe(name, sent, context.request(*lines), check)


def _two_lengths(context: ProbeContext) -> Iterator[Probe]:
    length = f"Content-Length: {len(_EMPTY_CHUNKED_BODY)}"
    for name, sent, coding in (
        ("two-lengths", "Content-Length and Transfer-Encoding", "Transfer-Encoding: chunked"),
        ("hidden-length", "Content-Length and a malformed Transfer-Encoding", "Transfer-Encoding : chunked"),
    ):
        request = context.request(context.authorization, length, coding, method="POST", body=_EMPTY_CHUNKED_BODY)
        yield Probe(name, f"POST with {sent}", request, _one_length, malformed=True)


def _one_length(response: Response) -> Result:
    if response.accepted:
        return Result(Issue.AMBIGUOUS_LENGTH, f"{response.status}: accepted")
    return Result(None, f"{response.status}: rejected")
