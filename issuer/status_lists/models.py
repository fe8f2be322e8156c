"""The values of status lists: a leased index, a list as the database has it, a signed list."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

LEASE_SIZE: Final = 256
"""Indices that an issuer leases at once."""


@dataclass(frozen=True, slots=True)
class StatusListEntry:
    """A status list index: the list, and the number of the bit."""

    list_id: int
    idx: int


@dataclass(frozen=True, slots=True)
class StatusListSnapshot:
    """A list as it was read from the database. Snapshots with the same `fingerprint` have the same bits set.

    Attributes:
        list_id: the id in its URI.
        size: the number of bits.
        fingerprint: a hash of the bits that are set, regardless of `all_revoked`.
        all_revoked: whether every bit counts as set.
        read_at: when it was read, by the clock of the database.
    """

    list_id: int
    size: int
    fingerprint: str
    all_revoked: bool
    read_at: datetime


@dataclass(frozen=True, slots=True)
class PublishedList:
    """A signed list, with the snapshot and the key that it was made from."""

    token: bytes = field(repr=False)
    issued_at: int
    state: StatusListSnapshot
    kid: str

    @property
    def read_in(self) -> int:
        """The second in which the snapshot was read."""
        return int(self.state.read_at.timestamp())
