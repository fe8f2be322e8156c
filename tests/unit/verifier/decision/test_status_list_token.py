"""Status list tokens are decided as in the vectors, and never accepted as another kind of token."""

import random
from typing import Any

import pytest

from shared.status_list import MAX_LIST_TOKEN_BYTES, encode
from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, NOW, STATUS_LIST
from tests.support.vectors import KEY_SETS, POLICIES, load, octets
from verifier.decision.reasons import RejectionReason
from verifier.decision.status import StatusLists
from verifier.decision.status_list_token import StatusList, StatusListRejection, read_status_list
from verifier.decision.verification import Rejected, verify

VECTORS = load("status-lists")


def read(vector: dict[str, Any]) -> StatusList | StatusListRejection:
    keys = KEY_SETS[vector["key_sets"]]
    token, now = octets(vector["token"]), vector["now"]
    return read_status_list(token, issuer=vector["issuer"], uri=vector["uri"], keys=keys, now=now)


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["id"]) for vector in VECTORS])
def test_a_status_list_is_decided_as_its_vector_states(vector: dict[str, Any]) -> None:
    taken = read(vector)
    if isinstance(taken, StatusListRejection):
        assert {"reason": taken} == vector["expected"]
        return
    size, mask = len(taken.octets) * 8 // taken.bits, (1 << taken.bits) - 1
    number = int.from_bytes(taken.octets, "little")
    assert vector["expected"] == {
        "set": [index for index in range(size) if number >> (index * taken.bits) & mask],
        "size": size,
        "issued_at": taken.issued_at,
        "expires_at": taken.expires_at,
        "ttl": taken.ttl,
    }
    assert taken.key.issuer == vector["issuer"]


def test_every_status_list_rejection_has_a_vector() -> None:
    assert {vector["expected"].get("reason") for vector in VECTORS} - {None} == set(StatusListRejection)


def test_a_status_list_is_never_an_access_token() -> None:
    for vector in VECTORS:
        if vector["id"] == "access-token":
            continue
        decision = verify(
            octets(vector["token"]),
            keys=KEY_SETS[vector["key_sets"]],
            policy=POLICIES["default"],
            now=vector["now"],
            revocations=StatusLists(),
        )
        assert isinstance(decision, Rejected), vector["id"]
    claims = GOOD.claims(NOW)
    both = GOOD.status_list(NOW, STATUS_LIST, "eNrbuRgAAhcBXQ", **{**claims, "sub": STATUS_LIST})
    taken = read_status_list(both, issuer=ISSUER, uri=STATUS_LIST, keys=KEY_SETS["issuer"], now=NOW)
    assert isinstance(taken, StatusList)
    decision = verify(both, keys=KEY_SETS["issuer"], policy=POLICIES["default"], now=NOW, revocations=StatusLists())
    assert decision == Rejected(RejectionReason.WRONG_TYPE)


def test_an_oversized_status_list_is_rejected_unparsed() -> None:
    lst = encode(random.Random(1).randbytes(MAX_LIST_TOKEN_BYTES * 9 // 16))
    token = GOOD.status_list(NOW, STATUS_LIST, lst)
    assert len(token) > MAX_LIST_TOKEN_BYTES
    taken = read_status_list(token, issuer=ISSUER, uri=STATUS_LIST, keys=KEY_SETS["issuer"], now=NOW)
    assert taken is StatusListRejection.TOO_LARGE
