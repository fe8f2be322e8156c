"""What the decision looks at to know whether a token was taken back: the status lists, in memory, by issuer.

Each list is replaced whole by `status_refresh`, never edited; looking costs two dictionaries and a byte.
"""

from typing import Final, NamedTuple

from verifier.verification import Status, StatusReference

# Read from the enumeration each time, they would take a third of the time that a look takes.
_VALID: Final = Status.VALID
_REVOKED: Final = Status.REVOKED
_UNKNOWN: Final = Status.UNKNOWN


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
        self._by_issuer: dict[str, dict[str, KnownList]] = {}

    def follow(self, issuer: str) -> None:
        """From the next decision on, tokens of `issuer` that refer to a list count only if we have it."""
        self._by_issuer.setdefault(issuer, {})

    def put(self, issuer: str, uri: str, known: KnownList) -> None:
        """Go by this list from the next decision on. The issuer is followed."""
        self._by_issuer[issuer][uri] = known

    def discard(self, issuer: str, uri: str) -> None:
        """Go by this list no longer: it is not known. The issuer is followed."""
        self._by_issuer[issuer].pop(uri, None)

    def forget(self, issuer: str) -> None:
        """Follow `issuer` no longer: its tokens count until they expire."""
        self._by_issuer.pop(issuer, None)

    def status(self, reference: StatusReference, now: float) -> Status:
        """What is known of one token at `now`. Asked for on each decision, remembered or not."""
        lists = self._by_issuer.get(reference.issuer)
        if lists is None:
            return _VALID
        known = lists.get(reference.uri)
        if known is None or now >= known.counts_until:
            return _UNKNOWN
        octets, idx = known.octets, reference.idx
        place = idx >> 3
        # Draft §8.3: a token whose index is outside of its list MUST be rejected.
        if place >= len(octets) or octets[place] >> (idx & 7) & 1:
            return _REVOKED
        return _VALID
