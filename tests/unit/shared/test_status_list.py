"""Status lists as bytes: the vectors of the draft, and invalid encodings."""

import base64
import random
import zlib

import pytest

from shared.status_list import LIST_BITS, MAX_LIST_BYTES, StatusListError, decode, encode, pack


def _lst(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _set_bits(octets: bytes) -> set[int]:
    return {index for index in range(len(octets) * 8) if octets[index >> 3] >> (index & 7) & 1}


def test_the_vector_of_the_draft_with_one_bit() -> None:
    octets = pack([0, 3, 4, 5, 7, 8, 9, 13, 15], 16)
    assert octets == bytes.fromhex("b9a3")
    assert decode("eNrbuRgAAhcBXQ") == decode(encode(octets)) == octets


def test_the_vector_of_the_draft_with_two_bits() -> None:
    octets = bytes.fromhex("c944f9")
    assert decode(encode(octets)) == octets


def test_a_packed_list_reads_back() -> None:
    indices = set(random.Random(1).sample(range(LIST_BITS), 1000))
    octets = decode(encode(pack(indices, LIST_BITS)))
    assert len(octets) == LIST_BITS // 8
    assert _set_bits(octets) == indices


@pytest.mark.parametrize(("indices", "size"), [([8], 8), ([-1], 8), ([], 0), ([], 12), ([], -8)])
def test_an_index_beyond_the_list_cannot_be_packed(indices: list[int], size: int) -> None:
    with pytest.raises(StatusListError):
        pack(indices, size)


def test_a_list_may_not_exceed_its_largest_size() -> None:
    assert len(decode(encode(bytes(MAX_LIST_BYTES)))) == MAX_LIST_BYTES
    with pytest.raises(StatusListError, match="larger"):
        decode(encode(bytes(MAX_LIST_BYTES + 1)))


_STREAM = zlib.compress(bytes(1000))
_RAW = zlib.compressobj(wbits=-15)

REJECTED = {
    "nothing": "",
    "not base64url": "eNrbuRgAAhcBX!",
    "the alphabet of base64": "+/+/",
    "white space": "eNrbuRgA AhcBXQ",
    "padding": "eNrbuRgAAhcBXQ==",
    "unused bits": "eNrbuRgAAhcBXR",
    "one character too many": "eNrbuRgAAhcBXQA",
    "beyond ASCII": "eNrbuRgAAhcBXé",
    "a lone surrogate": "\ud800",
    "not compressed": _lst(bytes.fromhex("b9a3")),
    "DEFLATE without its container": _lst(_RAW.compress(b"\xb9\xa3") + _RAW.flush()),
    "GZIP": _lst(zlib.compress(bytes(10), wbits=31)),
    "half of it": _lst(_STREAM[: len(_STREAM) // 2]),
    "without its checksum": _lst(_STREAM[:-4]),
    "a wrong checksum": _lst(_STREAM[:-1] + b"\0"),
    "data after it": _lst(_STREAM + b"\0"),
    "two of them": _lst(_STREAM * 2),
    "no bits": _lst(zlib.compress(b"")),
    "a bomb": _lst(zlib.compress(bytes(200 * MAX_LIST_BYTES))),
}


@pytest.mark.parametrize("lst", REJECTED.values(), ids=REJECTED.keys())
def test_a_malformed_list_is_rejected(lst: str) -> None:
    with pytest.raises(StatusListError):
        decode(lst)
