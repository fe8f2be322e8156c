"""Tokens of known providers: access tokens are accepted with the right identity, others are rejected."""

import json
from typing import Any

import pytest

from shared.jwks import parse_jwks
from tests.support.providers import FOLDER, NAMES, NOW, cases, load, parts, signing_key
from tests.support.vectors import identity
from verifier.decision.keyset import TrustedKeys
from verifier.decision.policy import Policy
from verifier.decision.status import StatusLists
from verifier.decision.verification import Accepted, Rejected, verify
from verifier.profile_file import BUILT_IN, built_in
from verifier.subrequest.responses import ok_response, ok_template

Json = dict[str, Any]


def decide(provider: Json, case: Json, algorithm: str) -> Accepted | Rejected:
    key, profile = signing_key(algorithm), built_in(provider["profile"])
    issuers = {provider["issuer"]: parse_jwks(json.dumps({"keys": [key.jwk()]}).encode(), profile.algorithms)}
    policy = Policy(
        "default",
        frozenset({provider["issuer"]}),
        frozenset({provider["audience"]}),
        profiles={provider["issuer"]: profile},
    )
    token = key.sign(*parts(provider, case))
    return verify(token, keys=TrustedKeys.from_issuers(issuers), policy=policy, now=NOW, revocations=StatusLists())


@pytest.mark.parametrize(
    ("provider", "case"), [pytest.param(*it, id=f"{it[0]['profile']}: {it[1]['id']}") for it in cases()]
)
def test_a_provider_s_token_is_decided_as_its_vector_states(provider: Json, case: Json) -> None:
    for algorithm in provider["algorithms"]:
        decision = decide(provider, case, algorithm)
        if isinstance(decision, Accepted):
            assert identity(ok_response(ok_template(), decision.claims)) == case.get("identity")
        else:
            assert decision.reason == case.get("reason")


def test_every_file_has_its_sources_and_no_two_tokens_of_one_name() -> None:
    assert sorted(NAMES) == sorted(BUILT_IN)
    for name in NAMES:
        provider = load(name)
        ids = [case["id"] for case in [*provider["accepted"], *provider["rejected"]]]
        assert len(set(ids)) == len(ids)
        assert provider["sources"]
        assert name == provider["profile"], FOLDER
