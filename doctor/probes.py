"""What a probe is, and how its bytes are put together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from doctor.echo import (
    CONTROL_HEADER,
    FAMILY_HEADER,
    Echo,
    generously_read,
    identity_headers,
    paths,
    shows,
)
from doctor.findings import Cause
from doctor.messages import Answer, Outcome, Request
from doctor.target import Target
from doctor.token import Credential
from shared.identity_headers import IDENTITY_HEADERS


@dataclass(frozen=True)
class Verdict:
    """What came back, in words, and the cause of the finding; None if all is well."""

    cause: Cause | None
    got: str


Judge: TypeAlias = Callable[[Answer, Echo], Verdict]


@dataclass(frozen=True)
class Probe:
    """One request and how to judge the answer.

    Attributes:
        name: short, unique.
        sent: what, in words.
        request: the bytes.
        judge: pure; never sees a 429 or a failure (5xx), which are the same finding for all.
        malformed: no answer but a closed connection is a refusal too.
    """

    name: str
    sent: str
    request: Request
    judge: Judge
    malformed: bool = False

    def judged(self, outcome: Outcome, echo: Echo) -> Verdict:
        """What `outcome` amounts to."""
        if not isinstance(outcome, Answer):
            refused = self.malformed and outcome.refuses
            return Verdict(None if refused else Cause.NO_ANSWER, outcome.how)
        if outcome.status == 429:  # noqa: PLR2004 - RFC 6585 §4
            return Verdict(Cause.NO_ANSWER, "429, too many requests")
        if outcome.failed:
            return Verdict(Cause.SERVER_ERROR, str(outcome.status))
        return self.judge(outcome, echo)


@dataclass(frozen=True)
class Bench:
    """What requests are made of.

    Attributes:
        target: where they go.
        credential: the good token.
        secret: unguessable, lower case letters and digits: found in an answer, it came from us.
        admin_path: a path that refuses the token, with a slash at its end, if one is known.
    """

    target: Target
    credential: Credential
    secret: str = field(repr=False)
    admin_path: str | None = None

    @property
    def good(self) -> str:
        """The line that carries the good token."""
        return bearer(self.credential.token)

    @property
    def controls(self) -> tuple[str, str]:
        """Two harmless headers: an echo shows at least one of them, unless it shows named ones only."""
        return f"{CONTROL_HEADER}: {self.secret}c", f"{FAMILY_HEADER}: {self.secret}f"

    def marker(self, header: str) -> str:
        """The value that `header` is spoofed with: found in an answer, the application was given it."""
        return f"{self.secret}{IDENTITY_HEADERS.index(header)}x"

    def reached(self, answer: Answer, path: str) -> bool:
        """Whether `answer` shows that the application got the request: our controls, identities, or the path."""
        if shows(answer, self.secret) or identity_headers(answer):
            return True
        return any(generously_read(shown) == generously_read(path) for shown in paths(answer))

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
        """A request with `lines` in their order, `Host` before and `Connection` behind them."""
        authority = self.target.authority if host is None else host
        ends = [f"Connection: {connection}"] if connection else []
        head = [f"{method} {path or self.target.path} {version}", f"Host: {authority}", *lines, *ends, "", ""]
        return Request(method, "\r\n".join(head).encode("latin-1") + body)


def bearer(token: bytes) -> str:
    """The line that carries `token` (RFC 6750 §2.1)."""
    return f"Authorization: Bearer {token.decode('ascii')}"
