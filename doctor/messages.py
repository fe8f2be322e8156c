"""A request as raw bytes, and its outcome: values without I/O."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Request:
    """A request to send. `method` decides whether the response has a body. `repr` omits the token in the bytes."""

    method: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Response:
    """A response with field names in lower case. `repr` omits what an echo returns, which may include the token."""

    status: int
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def accepted(self) -> bool:
        """Return whether the request was let through: 2xx, or 101 for a tunnel to the application."""
        return self.status // 100 == 2 or self.status == 101  # noqa: PLR2004 - RFC 9110 §15

    @property
    def server_failed(self) -> bool:
        """Return whether it is a 5xx other than 501 and 505, which reject a method, coding or version."""
        return self.status // 100 == 5 and self.status not in (501, 505)  # noqa: PLR2004 - RFC 9110 §15.6

    def values(self, name: str) -> list[str]:
        """Return the values of all fields with this name."""
        return [value for known, value in self.fields if known == name]


@dataclass(frozen=True)
class NoResponse:
    """The absence of a response.

    Attributes:
        detail: the reason in words.
        rejected: the connection was closed without a response, which is a valid rejection of malformed requests.
    """

    detail: str
    rejected: bool


Outcome: TypeAlias = Response | NoResponse
