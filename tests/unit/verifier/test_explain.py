"""`explain` prints every check and its outcome, and never the token."""

import re

import pytest

from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, NOW, STATUS_LIST, listed
from tests.support.vectors import KEY_SETS, POLICIES, TOKEN_VECTORS, Json, octets, status_lists
from verifier.decision import verification
from verifier.decision.reasons import RejectionReason
from verifier.explain import CHECKS, explain

NOT_OF_A_TOKEN = {
    RejectionReason.MISSING_TOKEN,
    RejectionReason.MALFORMED_CREDENTIALS,
    RejectionReason.CROSS_ORIGIN,
    RejectionReason.UNKNOWN_POLICY,
    RejectionReason.INTERNAL_ERROR,
}


def explained(
    token: bytes, policy: str = "default", key_sets: str = "issuer", lists: Json | None = None
) -> tuple[list[str], bool]:
    return explain(
        token, keys=KEY_SETS[key_sets], policy=POLICIES[policy], now=NOW, revocations=status_lists(lists or {})
    )


def test_the_explained_checks_are_those_of_verification() -> None:
    numbered = re.findall(r"^ ?(\d+)\. (\w+) ", verification.__doc__ or "", re.MULTILINE)
    assert numbered == [(str(number), name) for number, (name, _) in enumerate(CHECKS, 1)]


def test_every_reason_belongs_to_exactly_one_check() -> None:
    reasons = [reason for _, of_check in CHECKS for reason in of_check]
    assert sorted(reasons) == sorted(set(RejectionReason) - NOT_OF_A_TOKEN)


def test_an_accepted_token_passes_every_check() -> None:
    lines, accepted = explained(GOOD.token(NOW))
    assert accepted
    assert [line.split()[-1] for line in lines[:-1]] == ["passed"] * len(CHECKS)
    assert lines[-1] == "accepted by policy default"


def test_a_rejected_token_fails_one_check_and_skips_the_rest() -> None:
    lines, accepted = explained(GOOD.token(NOW, aud="billing"))
    assert not accepted
    assert lines[9] == "10. issuer      passed"
    assert lines[10] == "11. audience    FAILED: wrong_audience"
    assert {line.split(maxsplit=2)[2] for line in lines[11:-1]} == {"not reached"}
    assert lines[-1] == "rejected: wrong_audience by policy default"


@pytest.mark.parametrize(("lists", "outcome"), [(listed(7), "revoked"), ({ISSUER: {}}, "status_unavailable")])
def test_check_13_states_the_result_of_the_status_lists(lists: Json, outcome: str) -> None:
    token = GOOD.token(NOW, status={"status_list": {"uri": STATUS_LIST, "idx": 7}})
    assert explained(token, lists=listed())[1]
    lines, accepted = explained(token, lists=lists)
    assert not accepted
    assert lines[5] == " 6. key         passed"
    assert lines[12] == f"13. status      FAILED: {outcome}"


@pytest.mark.parametrize("name", sorted({vector["file"] for vector in TOKEN_VECTORS}))
def test_no_part_of_the_token_is_printed(name: str) -> None:
    for vector in TOKEN_VECTORS:
        if vector["file"] == name:
            lines, _ = explained(octets(vector["token"]), vector["policy"], vector["key_sets"])
            text = "\n".join(lines)
            assert not any(segment and segment in text for segment in vector["token"].split(".") if len(segment) > 4)
            assert "7b7f6f3e" not in text
