"""What the decision looks at to know whether a token was taken back: the status lists, in memory, by issuer.

A snapshot of each issuer is replaced whole by `status_refresh`; looking costs two dictionaries and a byte.
"""

from collections.abc import Mapping
from typing import NamedTuple

from verifier.verification import Status, StatusReference


class KnownList(NamedTuple):
    """One status list as decisions look at it.

    Attributes:
        octets: a bit for each token, index 0 the least significant of byte 0; set: the token does not count.
        counts_until: before this time (seconds since the epoch); from then on it says nothing.
    """

    octets: bytes
    counts_until: float


class StatusLists:
    """The lists of every issuer that is followed."""

    def __init__(self) -> None:
        self._by_issuer: dict[str, Mapping[str, KnownList]] = {}

    def replace(self, issuer: str, lists: Mapping[str, KnownList]) -> None:
        """Follow `issuer`, by these lists alone, from the next decision on: their URI → what they say."""
        self._by_issuer[issuer] = lists

    def forget(self, issuer: str) -> None:
        """Follow `issuer` no longer: its tokens count until they expire."""
        self._by_issuer.pop(issuer, None)

    def status(self, reference: StatusReference, now: float) -> Status:
        """What is known of one token at `now`. Asked for on each decision, remembered or not."""
        issuer, uri, idx = reference
        lists = self._by_issuer.get(issuer)
        if lists is None:
            return Status.VALID
        known = lists.get(uri)
        if known is None or now >= known.counts_until:
            return Status.UNKNOWN
        octets = known.octets
        # Draft §8.3: a token whose index is outside of its list MUST be rejected.
        if idx >> 3 >= len(octets) or octets[idx >> 3] >> (idx & 7) & 1:
            return Status.REVOKED
        return Status.VALID
