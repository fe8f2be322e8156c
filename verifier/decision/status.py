"""The status lists of every issuer, as one immutable snapshot. Replaced whole, never edited; no I/O here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple, Self

from shared.claims import StatusReference


class Status(Enum):
    """The status of one token."""

    VALID = "valid"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


# Module-level aliases: reading an attribute of the enumeration was a third of the lookup time.
_VALID: Final = Status.VALID
_REVOKED: Final = Status.REVOKED
_UNKNOWN: Final = Status.UNKNOWN


class CurrentStatusList(NamedTuple):
    """One status list as decisions read it.

    Attributes:
        octets: the list as published (draft-ietf-oauth-status-list §4.1), index 0 in the low bits of byte 0.
        bits: for each token; 1, 2, 4 or 8. Any value but 0 revokes.
        valid_until: seconds since the epoch; from then on every status in the list is unknown.
    """

    octets: bytes
    bits: int
    valid_until: float


@dataclass(frozen=True, slots=True)
class StatusLists:
    """The lists of the issuers that are configured with status lists, by issuer and URI."""

    by_issuer: Mapping[str, Mapping[str, CurrentStatusList]] = field(default_factory=dict)

    def status(self, reference: StatusReference, now: float) -> Status:
        """Return the status of one token at `now`. Called for each decision, cached or not."""
        lists = self.by_issuer.get(reference.issuer)
        if lists is None:
            return _VALID
        current = lists.get(reference.uri)
        if current is None or now >= current.valid_until:
            return _UNKNOWN
        octets, bits, _ = current
        position = reference.idx * bits
        byte_index = position >> 3
        # Draft §8.3: a token whose index is outside of its list MUST be rejected.
        if byte_index >= len(octets) or octets[byte_index] >> (position & 7) & ((1 << bits) - 1):
            return _REVOKED
        return _VALID

    def with_lists(self, issuer: str, lists: Mapping[str, CurrentStatusList]) -> Self:
        """Return a snapshot in which these lists replace all lists of `issuer`."""
        return type(self)({**self.by_issuer, issuer: lists})
