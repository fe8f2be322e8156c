"""A request as the bytes it is, and what came back: values, without I/O."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Request:
    """What to send; its method says whether the answer has a body. `repr` leaves out the bytes: they hold a token."""

    method: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """What came back; names of fields in lower case. `repr` leaves out what an echo says: it may hold a token."""

    status: int
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def accepted(self) -> bool:
        """2xx, or 101: a tunnel to the application."""
        return self.status // 100 == 2 or self.status == 101  # noqa: PLR2004 - RFC 9110 §15

    @property
    def failed(self) -> bool:
        """5xx. Saying that a method, a coding or a version is not served (501, 505) is a refusal and no failure."""
        return self.status // 100 == 5 and self.status not in (501, 505)  # noqa: PLR2004 - RFC 9110 §15.6

    def values(self, name: str) -> list[str]:
        """The values of a field."""
        return [value for known, value in self.fields if known == name]


@dataclass(frozen=True)
class Silence:
    """That no answer came.

    Attributes:
        how: in words.
        refuses: the connection was closed at once, as is right for what is not HTTP.
    """

    how: str
    refuses: bool


Outcome: TypeAlias = Answer | Silence
