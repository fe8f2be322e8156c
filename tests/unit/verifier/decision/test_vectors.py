"""Every vector is decided as stated, and the vectors are complete."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.jwks import JwksError, parse_jwks
from tests.support import providers
from tests.support.vector_keys import FOLDER
from tests.support.vectors import (
    CHECK_FILES,
    KEY_SETS,
    TOKEN_VECTORS,
    Bench,
    authorization_of,
    decide,
    identity,
    load,
    octets,
    ready_response,
)
from tests.vectors.sign import signed
from tests.vectors.suite.moving import move
from verifier.decision import verification
from verifier.decision.reasons import UNDECIDABLE, RejectionReason
from verifier.decision.verification import Accepted, Rejected
from verifier.explain import CHECKS
from verifier.subrequest.responses import BEARER_ERROR_CODES, ok_response, ok_template

REQUESTS, SEQUENCES, DOCUMENTS, LISTS = load("requests"), load("sequences"), load("jwks"), load("status-lists")
README = (FOLDER / "README.md").read_text()


def named(vectors: list[dict[str, Any]]) -> list[Any]:
    return [pytest.param(vector, id=vector["id"]) for vector in vectors]


@pytest.mark.parametrize("vector", named(TOKEN_VECTORS))
def test_a_token_is_decided_as_its_vector_states(vector: dict[str, Any]) -> None:
    decision = decide(vector)
    expected = vector["expected"]
    if isinstance(decision, Rejected):
        assert {"reason": decision.reason} == expected
    else:
        assert identity(ok_response(ok_template(), decision.claims)) == expected["identity"]


def test_the_authorizer_decides_as_the_token_vectors_state_also_from_the_cache() -> None:
    bench = Bench()
    for vector in TOKEN_VECTORS:
        bench.now = vector["now"]
        bench.follow(vector.get("status_lists", {}))
        bench.authorizer.replace_keys(KEY_SETS[vector["key_sets"]])
        target, credentials = f"/verify/{vector['policy']}".encode(), b"Bearer " + octets(vector["token"])
        response, reason = bench.authorize(target, credentials)
        again = bench.authorizer.authorize(target, credentials)
        assert again == response, vector["id"]
        if reason is None:
            assert identity(response) == vector["expected"].get("identity"), vector["id"]
        else:
            # As credentials these are more than one token, or none, before they are an invalid one.
            malformed = not vector["token"] or re.search("[ ,\t]", vector["token"])
            assert reason == (
                RejectionReason.MALFORMED_CREDENTIALS if malformed else vector["expected"].get("reason")
            ), vector["id"]
            assert response == ready_response(reason, target), vector["id"]


@pytest.mark.parametrize("vector", named(REQUESTS))
def test_a_request_is_decided_as_its_vector_states(vector: dict[str, Any]) -> None:
    bench = Bench(now=vector["now"], keys=KEY_SETS[vector["key_sets"]])
    target = octets(vector["target"])
    response, reason = bench.authorize(target, authorization_of(vector))
    if reason is None:
        assert identity(response) == vector["expected"].get("identity")
    else:
        assert {"reason": reason} == vector["expected"]
        assert response == ready_response(reason, target)


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("vector", named(SEQUENCES))
def test_a_sequence_is_decided_as_its_vector_states(vector: dict[str, Any], *, cached: bool) -> None:
    bench = Bench(now=vector["now"], keys=KEY_SETS[vector["key_sets"]], cached=cached)
    for step in vector["steps"]:
        bench.now = step.get("now", bench.now)
        if "key_sets" in step:
            bench.authorizer.replace_keys(KEY_SETS[step["key_sets"]])
        if "status_lists" in step:
            bench.follow(step["status_lists"])
        response, reason = bench.authorize(octets(step["target"]), authorization_of(step))
        assert ({"reason": reason} if reason else {"identity": identity(response)}) == step["expected"]


@pytest.mark.parametrize("vector", named(DOCUMENTS))
def test_a_key_set_has_the_keys_that_its_vector_states(vector: dict[str, Any]) -> None:
    try:
        kids = sorted(parse_jwks(octets(vector["document"])).keys)
    except JwksError:
        assert vector["kids"] is None
    else:
        assert kids == sorted(vector["kids"] or [])


def test_every_reason_has_a_vector() -> None:
    expected = [vector["expected"].get("reason") for vector in [*TOKEN_VECTORS, *REQUESTS]]
    expected += [case.get("reason") for _, case in providers.cases()]
    expected += [case["expected"] for case in load("browsers/requests") if case["expected"] != "allowed"]
    assert set(RejectionReason) - {RejectionReason.INTERNAL_ERROR} == {reason for reason in expected if reason}


def test_every_numbered_check_has_a_file_with_its_rejections() -> None:
    numbered = re.findall(r"^ ?(\d+)\. (\w+) ", verification.__doc__ or "", re.MULTILINE)
    assert [f"{int(number):02}-{name}" for number, name in numbered] == CHECK_FILES
    for (_, reasons), name in zip(CHECKS, CHECK_FILES, strict=True):
        given = {vector["expected"].get("reason") for vector in load(name)}
        # Our own access tokens are recognised by their type alone: the vectors of other providers have this reason.
        assert reasons - {RejectionReason.NOT_ACCESS_TOKEN} <= given, name


def test_every_file_also_has_vectors_that_are_accepted() -> None:
    without = {name for name in CHECK_FILES if not any("identity" in vector["expected"] for vector in load(name))}
    assert without == {"04-algorithm", "09-sender"}  # RS256 is the one algorithm; nothing may be said of a sender


def test_every_attack_and_every_reason_is_explained_in_the_readme() -> None:
    used = {vector["attack"] for vector in [*TOKEN_VECTORS, *REQUESTS, *SEQUENCES, *DOCUMENTS, *LISTS]}
    assert used == set(re.findall(r"^\| `([a-z0-9-]+)` \|", README.partition("## Attacks")[2], re.MULTILINE))
    results = dict(re.findall(r"^\| `([a-z_]+)` \| (\d+) ", README.partition("## Attacks")[0], re.MULTILINE))
    assert results == {
        reason: str(_status(reason)) for reason in RejectionReason if reason is not RejectionReason.INTERNAL_ERROR
    }


def _status(reason: RejectionReason) -> int:
    if reason in UNDECIDABLE:
        return 503
    forbidden = {RejectionReason.CROSS_ORIGIN, RejectionReason.UNKNOWN_POLICY}
    return 403 if reason in forbidden or BEARER_ERROR_CODES[reason] == "insufficient_scope" else 401


def test_vector_ids_are_unique_in_a_file() -> None:
    for path in FOLDER.glob("*.json"):
        vectors = json.loads(path.read_text())
        if isinstance(vectors, list):
            assert len({vector["id"] for vector in vectors}) == len(vectors), path.name


def test_the_files_follow_their_schema() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text())
    kinds = {
        "requests": "requests",
        "sequences": "sequences",
        "jwks": "documents",
        "policies": "policies",
        "key-sets": "keySets",
        "status-lists": "lists",
    }
    for path in _data_files():
        reference = {**schema, "$ref": f"#/$defs/{kinds.get(path.stem, 'tokens')}"}
        errors = Draft202012Validator(reference).iter_errors(json.loads(path.read_text()))
        assert [f"{path.name} {error.json_path}: {error.message[:200]}" for error in errors] == []


def test_the_command_that_signs_a_new_vector_makes_the_tokens_of_the_files() -> None:
    tokens = {vector["token"] for vector in TOKEN_VECTORS}
    assert signed("issuer", {}, {}) in tokens
    assert signed("issuer", {}, {"exp": None}) in tokens
    assert signed("issuer", {"typ": "JWT"}, {}) in tokens


def test_what_every_verifier_must_reject_names_its_source() -> None:
    rejected = [one for one in [*TOKEN_VECTORS, *REQUESTS] if "reason" in one["expected"]]
    assert {one["severity"] for one in rejected} == {"must", "strict"}
    assert [one["id"] for one in rejected if (one["severity"] == "must") != ("source" in one)] == []


MOVED_BY = -6_543_210


@pytest.fixture(scope="module")
def moved_vectors() -> list[dict[str, Any]]:
    return [move(vector, MOVED_BY) for vector in TOKEN_VECTORS]


def test_a_vector_that_is_moved_in_time_has_the_same_outcome(moved_vectors: list[dict[str, Any]]) -> None:
    for vector, moved in zip(TOKEN_VECTORS, moved_vectors, strict=True):
        assert moved["now"] == vector["now"] + MOVED_BY
        decision = decide(moved | {"status_lists": _moved_lists(vector, MOVED_BY)})
        if isinstance(decision, Rejected):
            assert {"reason": decision.reason} == vector["expected"], vector["id"]
        else:
            assert identity(ok_response(ok_template(), decision.claims)) == moved["expected"]["identity"], vector[
                "id"
            ]


def test_a_vector_that_is_moved_in_time_is_signed_again(moved_vectors: list[dict[str, Any]]) -> None:
    kept = set()
    for vector, moved in zip(TOKEN_VECTORS, moved_vectors, strict=True):
        before, after = vector["token"].split("."), moved["token"].split(".")
        if before != after and before[-1] == after[-1] != "":
            kept.add(vector["id"])
    fixed = ("zero", "one", "ones", "one-byte", "modulus", "modulus-minus-one", "of-another-token")
    others = {"payload-changed", "header-changed", "leading-zero-stripped"}
    assert kept == {
        "02-form/empty-header",
        "04-algorithm/es256-zero",
        "04-algorithm/es256-zero-by-rsa-kid",
        *(f"07-signature/{name}" for name in {*fixed, *others}),
    }


def _moved_lists(vector: dict[str, Any], seconds: int) -> dict[str, Any]:
    return {
        issuer: {
            uri: {k: v + seconds if k == "counts_until" else v for k, v in entry.items()}
            for uri, entry in lists.items()
        }
        for issuer, lists in vector.get("status_lists", {}).items()
    }


def _data_files() -> list[Path]:
    return [path for path in FOLDER.glob("*.json") if path.stem not in ("schema", "private-keys.test-only")]


def test_accepted_tokens_are_valid_for_exactly_their_stated_time() -> None:
    for vector in TOKEN_VECTORS:
        decision = decide(vector)
        if isinstance(decision, Accepted):
            inside = (
                decide({**vector, "now": decision.valid_from}),
                decide({**vector, "now": decision.valid_until - 1}),
            )
            outside = (
                decide({**vector, "now": decision.valid_from - 1}),
                decide({**vector, "now": decision.valid_until}),
            )
            assert inside == (decision, decision)
            assert all(isinstance(error, Rejected) for error in outside)
