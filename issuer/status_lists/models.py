"""The values of status lists: a leased index, a list as the database has it, a signed list."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

LEASE_SIZE: Final = 256
"""How many indices an issuer leases at once."""


@dataclass(frozen=True, slots=True)
class StatusListEntry:
    """One bit: which list, and which of its bits."""

    list_id: int
    idx: int


@dataclass(frozen=True, slots=True)
class StatusListSnapshot:
    """A list as the database has it. Two states of equal `fingerprint` have the same bits set.

    Attributes:
        list_id: names it.
        size: how many bits it has.
        fingerprint: of the bits that are set one by one.
        all_revoked: whether every bit counts as set.
        read_at: when this was read, by the clock of the database.
    """

    list_id: int
    size: int
    fingerprint: str
    all_revoked: bool
    read_at: datetime


@dataclass(frozen=True, slots=True)
class PublishedList:
    """A signed list, and what it was made from."""

    token: bytes = field(repr=False)
    issued_at: int
    state: StatusListSnapshot
    kid: str

    @property
    def read_in(self) -> int:
        """The second in which the state was read."""
        return int(self.state.read_at.timestamp())


def status_list_uri(issuer: str, list_id: int) -> str:
    """How tokens name a list."""
    return f"{issuer.rstrip('/')}/status-lists/{list_id}"
