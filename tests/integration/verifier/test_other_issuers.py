"""The verifier uses the profile of each issuer, and an outage of one issuer does not affect the others."""

import json
from pathlib import Path
from time import time
from typing import Any, Final

from tests.support.jwks_server import running_jwks_server, serves
from tests.support.processes import free_port, wait_until
from tests.support.providers import load, parts, signing_key
from tests.support.verifier_process import VerifierFolder, VerifierProcess, verifier_command

KEYCLOAK: Final = load("keycloak")
ISSUER: Final = KEYCLOAK["issuer"]
SIGNER: Final = signing_key("ES256", "of-keycloak")
SUBJECT: Final = "1001"


def token(header: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """Return a token of the other issuer, valid now."""
    head, claims = parts(KEYCLOAK, KEYCLOAK["accepted"][0])
    now = int(time())
    return SIGNER.sign(
        {**head, **(header or {})},
        {**claims, "iat": now, "exp": now + 300, "auth_time": now, "sub": SUBJECT, **changes},
    )


def policies(folder: VerifierFolder, key_set: str, profile: str = 'profile = "keycloak"', rest: str = "") -> str:
    return (
        f'[issuers."{ISSUER}"]\n{key_set}\n{profile}\n'
        f'[policies.default]\nissuers = ["{ISSUER}", "{folder.forge.issuer}"]\naudience = ["api", "gatepass"]\n{rest}'
    )


def published(tmp_path: Path) -> str:
    path = tmp_path / "keycloak.json"
    others = [{"kty": "EC", "crv": "P-521", "kid": "x", "x": "AA", "y": "AA"}, {"kty": "AKP", "kid": "y"}]
    path.write_text(json.dumps({"keys": [*others, SIGNER.jwk()]}))
    return f"jwks_file = {json.dumps(str(path))}"


def test_equal_subjects_of_two_issuers_reach_the_application_apart(folder: VerifierFolder, tmp_path: Path) -> None:
    with folder.running(policies=policies(folder, published(tmp_path))) as verifier:
        ours = verifier.ask(token=verifier.token(sub=SUBJECT))
        theirs = verifier.ask(token=token())
        assert (ours.status, theirs.status) == (200, 200)
        assert ours["x-auth-subject"] == theirs["x-auth-subject"] == SUBJECT
        assert (ours["x-auth-issuer"], theirs["x-auth-issuer"]) == (folder.forge.issuer, ISSUER)
        assert theirs["x-auth-client"] == "web"
        assert theirs["x-auth-roles"] == "default-roles-main,offline_access,editor"
        assert verifier.ask(token=token(typ="ID")).status == 401
        assert verifier.metric("decisions_total", reason="not_access_token") == 1


def test_keys_that_cannot_be_used_are_skipped_and_logged(folder: VerifierFolder, tmp_path: Path) -> None:
    with folder.running(policies=policies(folder, published(tmp_path))) as verifier:
        loaded = verifier.wait_for_event("jwks_updated", issuer=ISSUER)
        assert loaded["kids"] == ["of-keycloak"]
        assert loaded["skipped"] == {"of another type": 2}


def test_an_issuer_that_cannot_be_reached_affects_only_its_own_tokens(folder: VerifierFolder) -> None:
    key_set = f'jwks_url = "http://127.0.0.1:{free_port()}/"'
    with folder.running(policies=policies(folder, key_set), ready=None) as verifier:
        wait_until(lambda: _responds(verifier), "it accepts connections")
        assert [verifier.ask(token=verifier.token()).status for _ in range(3)] == [200] * 3
        assert verifier.ask(token=token()).status == 503


def test_a_reload_applies_other_algorithms_to_keys_that_are_held(folder: VerifierFolder, tmp_path: Path) -> None:
    document = json.dumps({"keys": [SIGNER.jwk(), signing_key("RS256", "rsa").jwk()]}).encode()
    with running_jwks_server(serves(document)) as server:
        key_set = f'jwks_url = "{server.url}"'
        rsa_only = f"[issuers.\"{ISSUER}\".profile]\nextends = 'keycloak'\nalgorithms = ['RS256']"
        with folder.running(policies=policies(folder, key_set)) as verifier:
            assert verifier.ask(token=token()).status == 200
            folder.policies.write_text(policies(folder, key_set, rsa_only))
            verifier.reload()
            wait_until(lambda: verifier.ask(token=token()).status == 401, "ES256 is no longer accepted")
            folder.policies.write_text(policies(folder, key_set))
            verifier.reload()
            wait_until(lambda: verifier.ask(token=token()).status == 200, "ES256 is accepted again")
    del tmp_path


def test_additional_headers_are_in_every_200(folder: VerifierFolder, tmp_path: Path) -> None:
    rest = 'headers = { X-Auth-Claim-Email = "/email" }\n[policies.open]\nanonymous = true\n'
    rest += f'issuers = ["{folder.forge.issuer}"]'
    with folder.running(policies=policies(folder, published(tmp_path), rest=rest)) as verifier:
        assert verifier.ask(token=token())["x-auth-claim-email"] == "ada@example.com"
        assert verifier.ask(token=verifier.token())["x-auth-claim-email"] == ""
        assert verifier.ask("/verify/open")["x-auth-claim-email"] == ""


def test_check_config_describes_each_profile(folder: VerifierFolder, tmp_path: Path) -> None:
    folder.policies.write_text(f'[issuers."{ISSUER}"]\n{published(tmp_path)}\nprofile = "keycloak"')
    done = verifier_command("check-config", POLICIES_FILE=folder.policies)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"issuer {ISSUER}: profile keycloak" in lines
    assert "  mark: claim /typ equals 'Bearer'" in lines
    explained = verifier_command("explain", stdin=token(typ="ID"), POLICIES_FILE=folder.policies, AUDIENCE="api")
    assert explained.returncode == 1
    assert "  mark of an access token: claim /typ equals 'Bearer': does not hold" in explained.stdout.splitlines()
    assert explained.stdout.splitlines()[-1] == "rejected: not_access_token by policy default"


def _responds(verifier: VerifierProcess) -> bool:
    try:
        return verifier.ask().status == 401
    except OSError:
        return False
