"""A probe, the parts of its request, and the checks that several probes share. All checks are pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

from doctor.echo import (
    CANARY_HEADER,
    IDENTITY_LIKE_HEADER,
    Echo,
    contains,
    identity_headers,
    normalize_leniently,
    paths,
)
from doctor.findings import Issue
from doctor.messages import Outcome, Request, Response
from doctor.target import Target
from doctor.token import AccessToken
from shared.identity_headers import IDENTITY_HEADERS


@dataclass(frozen=True)
class Result:
    """The outcome of a check: the issue, or None if it passed, and what was received, in words."""

    issue: Issue | None
    received: str


Check: TypeAlias = Callable[[Response], Result]


@dataclass(frozen=True)
class Probe:
    """One request and the check of its response.

    Attributes:
        name: short and unique.
        sent: the request in words.
        request: the request in bytes.
        check: pure. Not called for 429 and server failures (5xx), which are the same issue for every probe.
        malformed: the request is, so closing the connection without a response is a valid rejection too.
    """

    name: str
    sent: str
    request: Request
    check: Check
    malformed: bool = False

    def evaluate(self, outcome: Outcome) -> Result:
        """Return the result of this probe for `outcome`."""
        if not isinstance(outcome, Response):
            passed = self.malformed and outcome.rejected
            return Result(None if passed else Issue.NO_RESPONSE, outcome.detail)
        if outcome.status == HTTPStatus.TOO_MANY_REQUESTS:
            return Result(Issue.NO_RESPONSE, "429, too many requests")
        if outcome.server_failed:
            return Result(Issue.SERVER_ERROR, str(outcome.status))
        return self.check(outcome)


@dataclass(frozen=True)
class ProbeContext:
    """The parts that requests are built from, and what the echo of the test route shows.

    Attributes:
        target: the test route.
        token: a valid access token.
        canary: unguessable, lower-case letters and digits. A response that contains it echoes our request.
        admin_path: a path that rejects the token, with a trailing slash, if one was given.
        claim_headers: additional identity headers of this deployment.
        echo: of the test route; empty before the first response.
    """

    target: Target
    token: AccessToken
    canary: str = field(repr=False)
    admin_path: str | None = None
    claim_headers: tuple[str, ...] = ()
    echo: Echo = field(default_factory=Echo)

    @property
    def identity_headers(self) -> tuple[str, ...]:
        """Return every header that only the verifier may set."""
        return (*IDENTITY_HEADERS, *self.claim_headers)

    @property
    def authorization(self) -> str:
        """Return the header line with the valid token."""
        return bearer(self.token.compact)

    @property
    def canary_headers(self) -> tuple[str, str]:
        """Return two harmless header lines. An echo shows at least one, unless it shows only selected headers."""
        return f"{CANARY_HEADER}: {self.canary}c", f"{IDENTITY_LIKE_HEADER}: {self.canary}f"

    def canary_for(self, header: str) -> str:
        """Return the value to spoof `header` with. In a response it proves that the application received it."""
        # The `x` ends the number: the canary of header 1 must not be the beginning of that of header 10.
        return f"{self.canary}{self.identity_headers.index(header)}x"

    def reached_application(self, response: Response, path: str) -> bool:
        """Return whether `response` shows that the application received the request for `path`."""
        if contains(response, self.canary) or identity_headers(response):
            return True
        return any(normalize_leniently(shown) == normalize_leniently(path) for shown in paths(response))

    def request(
        self,
        *lines: str,
        method: str = "GET",
        path: str | None = None,
        version: str = "HTTP/1.1",
        host: str | None = None,
        connection: str = "close",
        body: bytes = b"",
    ) -> Request:
        """Build a request with the header `lines` in this order, between `Host` and `Connection`."""
        first = [f"{method} {path or self.target.path} {version}", f"Host: {host or self.target.authority}"]
        head = [*first, *lines, f"Connection: {connection}", "", ""]
        return Request(method, "\r\n".join(head).encode("latin-1") + body)


def bearer(token: bytes) -> str:
    """Return the header line that carries `token` (RFC 6750 §2.1)."""
    return f"Authorization: Bearer {token.decode('ascii')}"


def rejected(issue: Issue = Issue.UNAUTHENTICATED_ACCESS, *, exactly_401: bool = False) -> Check:
    """Return a check that the request does not reach the application.

    Args:
        issue: reported if it does.
        exactly_401: for well-formed requests without a valid token, for which RFC 6750 §3 requires 401.
    """

    def check(response: Response) -> Result:
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return Result(Issue.TUNNEL_OPENED, "101: a tunnel")
        if response.accepted:
            return Result(issue, f"{response.status}: accepted")
        if response.status == HTTPStatus.UNAUTHORIZED:
            if has_bearer_challenge(response):
                return Result(None, "401 with a Bearer challenge")
            return Result(Issue.MISSING_CHALLENGE, "401 without a Bearer challenge")
        return Result(Issue.WRONG_REJECTION_STATUS if exactly_401 else None, f"{response.status}: rejected")

    return check


def has_bearer_challenge(response: Response) -> bool:
    """Return whether `WWW-Authenticate` asks for a Bearer token."""
    return any(value.lower().startswith("bearer") for value in response.values("www-authenticate"))


def preflight_rejected(context: ProbeContext, path: str, issue: Issue = Issue.UNAUTHENTICATED_ACCESS) -> Check:
    """Return a check of OPTIONS: the gateway itself may respond to CORS preflights, the application must not."""

    def check(response: Response) -> Result:
        if response.accepted and not context.reached_application(response, path):
            return Result(Issue.PREFLIGHT_ACCEPTED, f"{response.status}, the sender could not be identified")
        return rejected(issue)(response)

    return check
