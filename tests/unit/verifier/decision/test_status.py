"""The status of a token is read from its own bits of a list only."""

import pytest

from shared.claims import StatusReference
from verifier.decision.status import CurrentStatusList, Status, StatusLists

_URI = "https://issuer.example/status-lists/1"


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("revoked", range(4))
def test_a_revoked_token_revokes_no_neighbour(bits: int, revoked: int) -> None:
    size = 16 // bits
    whole = ((1 << bits) - 1) << (revoked % size * bits)
    current = CurrentStatusList(whole.to_bytes(2, "little"), bits, 100.0)
    lists = StatusLists().with_lists("a", {_URI: current})
    for index in range(size):
        expected = Status.REVOKED if index == revoked % size else Status.VALID
        assert lists.status(StatusReference("a", _URI, index), 99.0) is expected


def test_lists_of_one_issuer_are_replaced_and_others_stay() -> None:
    current = CurrentStatusList(b"\x00", 1, 100.0)
    lists = StatusLists().with_lists("a", {_URI: current}).with_lists("b", {_URI: current}).with_lists("a", {})
    assert lists.status(StatusReference("a", _URI, 0), 1.0) is Status.UNKNOWN
    assert lists.status(StatusReference("b", _URI, 0), 1.0) is Status.VALID
    assert lists.status(StatusReference("b", _URI, 0), 100.0) is Status.UNKNOWN
    assert lists.status(StatusReference("c", _URI, 0), 1.0) is Status.VALID
