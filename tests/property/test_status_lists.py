"""Any input gives a status list or a rejection, and never a status that was not published."""

import json
import zlib
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from shared.claims import StatusReference
from shared.status_list import StatusListError, decode, encode, pack
from tests.support.token_forge import ISSUER, b64url
from tests.support.vector_keys import GOOD, NOW, STATUS_LIST
from tests.support.vectors import KEY_SETS
from verifier.decision.keyset import VerificationKey
from verifier.decision.status import CurrentStatusList, Status, StatusLists
from verifier.decision.status_list_token import StatusList, StatusListRejection, read_status_list
from verifier.refresh.aggregation import parse_aggregation
from verifier.refresh.source import RefreshError
from verifier.refresh.status_lists import newest

_HEADER: Final = json.dumps(GOOD.header(typ="statuslist+jwt")).encode()
_TOKEN: Final = GOOD.status_list(NOW, STATUS_LIST, encode(pack([7], 64)))
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_KEY: Final[VerificationKey] = KEY_SETS["issuer"].find(GOOD.kid)[0]


def _read(token: bytes) -> StatusList | StatusListRejection:
    return read_status_list(token, issuer=ISSUER, uri=STATUS_LIST, keys=KEY_SETS["issuer"], now=NOW)


@given(st.binary() | st.binary().map(lambda data: data.replace(b"\0", b".")))
def test_bytes_that_are_no_token_are_rejected(token: bytes) -> None:
    assert isinstance(_read(token), StatusListRejection)


@given(st.integers(0, len(_TOKEN) - 1), st.binary(max_size=3))
def test_a_changed_list_is_rejected(place: int, other: bytes) -> None:
    changed = _TOKEN[:place] + other + _TOKEN[place + 1 :]
    assert isinstance(_read(changed), StatusListRejection) or changed == _TOKEN


@given(st.binary(), st.binary())
def test_signed_bytes_that_are_no_list_are_rejected(header: bytes, payload: bytes) -> None:
    assert isinstance(_read(GOOD.sign(header, payload)), StatusListRejection)
    assert isinstance(_read(GOOD.sign(_HEADER, payload)), StatusListRejection)


@given(st.sampled_from(["sub", "iat", "exp", "ttl", "iss", "status_list"]), _JSON)
def test_any_value_of_any_claim_is_read_or_rejected(name: str, value: Any) -> None:
    claims = {**GOOD.list_claims(NOW, STATUS_LIST, encode(pack([7], 64))), name: value}
    taken = _read(GOOD.sign(_HEADER, json.dumps(claims).encode()))
    assert isinstance(taken, StatusListRejection) or (taken.octets, taken.bits) == (pack([7], 64), 1)


@given(_JSON, st.text() | st.binary().map(lambda data: b64url(data).decode()) | st.binary(min_size=1).map(encode))
def test_any_list_is_read_within_its_bounds_or_rejected(bits: Any, lst: str) -> None:
    taken = _read(GOOD.status_list(NOW, STATUS_LIST, "", status_list={"bits": bits, "lst": lst}))
    assert isinstance(taken, StatusListRejection | StatusList)


@given(st.text())
def test_any_text_is_a_list_or_a_status_list_error(lst: str) -> None:
    try:
        assert decode(lst)
    except StatusListError:
        return


@given(st.binary(min_size=1, max_size=500), st.sampled_from([0, 1, 6, 9]))
def test_a_list_of_any_compression_reads_back(octets: bytes, level: int) -> None:
    assert decode(b64url(zlib.compress(octets, level)).decode()) == octets


@given(st.binary(min_size=1, max_size=64), st.sampled_from([1, 2, 4, 8]))
def test_any_nonzero_status_is_revoked(octets: bytes, bits: int) -> None:
    number = int.from_bytes(octets, "little")
    values = [number >> (idx * bits) & ((1 << bits) - 1) for idx in range(len(octets) * 8 // bits)]
    lists = StatusLists({ISSUER: {STATUS_LIST: CurrentStatusList(octets, bits, NOW + 1)}})
    for idx, value in enumerate(values):
        known = lists.status(StatusReference(ISSUER, STATUS_LIST, idx), NOW)
        assert known is (Status.REVOKED if value else Status.VALID)
    for idx in (len(values), len(values) + 7, 2**53 - 1):
        assert lists.status(StatusReference(ISSUER, STATUS_LIST, idx), NOW) is Status.REVOKED


@given(st.binary() | _JSON.map(lambda value: json.dumps({"status_lists": value}).encode()))
def test_any_document_is_an_aggregation_or_an_error(document: bytes) -> None:
    try:
        aggregation = parse_aggregation(document)
    except RefreshError:
        return
    assert len(aggregation.uris) == len(set(aggregation.uris))
    assert all(uri.startswith(("https://", "http://")) for uri in aggregation.uris)


_LISTS: Final = st.builds(
    lambda octets, issued_at: StatusList(_KEY, octets, 1, issued_at, NOW + 60, 0),
    st.binary(min_size=1, max_size=4),
    st.integers(NOW, NOW + 2),
)


@given(st.lists(_LISTS, min_size=1, max_size=6))
def test_the_newest_lists_win_in_any_order_of_arrival(lists: list[StatusList]) -> None:
    held: StatusList | None = None
    for new in lists:
        held = newest(held, new)
    assert held is not None
    latest = max(known.issued_at for known in lists)
    assert held.issued_at == latest
    bits = 0
    for known in lists:
        bits |= int.from_bytes(known.octets, "little") if known.issued_at == latest else 0
    assert int.from_bytes(held.octets, "little") == bits


def test_a_different_list_of_the_same_second_replaces_the_current_one() -> None:
    held = StatusList(_KEY, b"\0", 1, NOW, NOW + 60, 0)
    wider = held._replace(octets=b"\3\0", bits=2)
    assert newest(held, wider) is wider
    assert newest(wider._replace(issued_at=NOW + 1), held).bits == 2
