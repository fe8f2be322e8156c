"""SIGHUP loads the policy file again, completely or not at all."""

from time import time

import pytest

from tests.support.processes import wait_until
from tests.support.raw_http import bearer, request
from tests.support.token_forge import Forge, accepting
from tests.support.verifier_process import VerifierFolder, VerifierProcess


def _reload(folder: VerifierFolder, verifier: VerifierProcess, policies: str) -> None:
    folder.policies.write_text(policies, encoding="utf-8")
    verifier.reload()


def test_a_reload_replaces_policies_and_cached_decisions(folder: VerifierFolder) -> None:
    with folder.running(policies="[policies.gate]") as verifier, verifier.connect() as wire:
        asked = request("/verify/gate", bearer(verifier.token()))
        assert [wire.ask(asked).status for _ in range(3)] == [200] * 3
        _reload(folder, verifier, '[policies.gate]\nscopes_all = ["admin"]\n[policies.more]\nanonymous = true')
        wait_until(lambda: len(verifier.events("policies_reloaded")) == 1, "they are applied")
        assert wire.ask(asked).status == 403
        assert wire.ask(request("/verify/more")).status == 200
        _reload(folder, verifier, "")
        wait_until(lambda: len(verifier.events("policies_reloaded")) == 2, "they are applied")
        assert wire.ask(asked).status == 403
        assert wire.ask(request("/verify/more")).status == 403
        assert wire.ask(request("/verify", bearer(verifier.token()))).status == 200


@pytest.mark.parametrize(("document", "why"), [
    ("[policies.gate", "not TOML"),
    ('[policies.gate]\nscope_all = ["admin"]', "scope_all"),
    ('[issuers.new]\njwks_url = "http://new.example/jwks"\n[policies.default]\nissuers = ["new"]', "plain http"),
    ("a = " + "[" * 5000, "nested"),
])  # fmt: skip
def test_an_invalid_policy_file_keeps_the_old_policies(reloading: VerifierProcess, document: str, why: str) -> None:
    folder = VerifierFolder(reloading.log_file.parent, reloading.forge)
    failures, lines = reloading.metric("reload_failures_total"), len(reloading.events("policies_reload_failed"))
    _reload(folder, reloading, document)
    wait_until(lambda: len(reloading.events("policies_reload_failed")) > lines, "it is logged")
    assert why in reloading.events("policies_reload_failed")[-1]["detail"]
    assert reloading.metric("reload_failures_total") == failures + 1
    assert reloading.ask("/verify/gate", token=reloading.token()).status == 200
    assert reloading.readiness() == 200


def test_a_missing_policy_file_keeps_the_old_policies(folder: VerifierFolder) -> None:
    with folder.running(policies="[policies.gate]") as verifier:
        folder.policies.unlink()
        verifier.reload()
        assert "FileNotFoundError" in verifier.wait_for_event("policies_reload_failed")["detail"]
        folder.policies.mkdir()
        verifier.reload()
        wait_until(lambda: len(verifier.events("policies_reload_failed")) == 2, "it is logged again")
        assert verifier.ask("/verify/gate", token=verifier.token()).status == 200


def test_a_reload_adds_and_removes_issuers_with_their_keys(folder: VerifierFolder) -> None:
    theirs = Forge("https://another.example")
    (folder.path / "theirs").mkdir()
    both = f'[issuers."{theirs.issuer}"]\njwks_file = "{theirs.publish(folder.path / "theirs")}"\n'
    both += accepting(folder.forge.issuer, theirs.issuer)
    with folder.running(policies="") as verifier, verifier.connect() as wire:
        asked = request("/verify", bearer(theirs.token(time())))
        assert wire.ask(asked).status == 401
        _reload(folder, verifier, both)
        wait_until(lambda: wire.ask(asked).status == 200, "the keys of the new issuer are fetched")
        assert wire.ask(request("/verify", bearer(verifier.token()))).status == 200
        _reload(folder, verifier, "")
        wait_until(lambda: wire.ask(asked).status == 401, "its keys are removed")
        assert verifier.wait_for_event("jwks_removed")["issuer"] == theirs.issuer
        for name in ("jwks_keys", "jwks_refreshed_timestamp_seconds"):
            assert [labels["issuer"] for labels, _ in verifier.samples(name)] == [verifier.forge.issuer]
        assert wire.ask(request("/verify", bearer(verifier.token()))).status == 200


def test_an_issuer_without_keys_is_named_and_the_verifier_stays_ready_for_the_others(folder: VerifierFolder) -> None:
    absent = f'[issuers."https://another.example"]\njwks_file = "{folder.path / "absent.json"}"\n'
    absent += accepting(folder.forge.issuer, "https://another.example")
    with folder.running(policies="") as verifier:
        _reload(folder, verifier, absent)
        wait_until(lambda: verifier.admin("/readyz").text != "ready\n", "the new issuer is known")
        response = verifier.admin("/readyz")
        assert (response.status_code, response.text) == (200, "ready; no key yet for https://another.example\n")
        assert verifier.ask(token=verifier.token()).status == 200
        _reload(folder, verifier, "")
        verifier.wait_until_readiness_is(200)


def test_reloads_under_load_fail_no_request(folder: VerifierFolder) -> None:
    with folder.running(policies="[policies.gate]") as verifier, verifier.connect() as wire:
        asked = request("/verify/gate", bearer(verifier.token()))
        for number in range(200):
            if number % 10 == 0:
                verifier.reload()
            assert wire.ask(asked).status == 200
