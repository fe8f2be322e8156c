"""`python -m tests.vectors` finds no error in our verifier, and all errors of a lax endpoint."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shared.base64url import decode
from tests.support.http_listener import Handler, serving
from tests.support.processes import ROOT, finished, wait_until
from tests.support.token_forge import ISSUER
from tests.support.vector_keys import GOOD, OTHER_ISSUER
from tests.support.vectors import load
from tests.support.verifier_process import VerifierFolder


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite to its end."""
    return finished([sys.executable, "-m", "tests.vectors", *arguments], seconds=300)


def policies_toml() -> str:
    """Return `policies.json` as a policy file of the verifier."""
    lines = []
    for name, policy in load("policies").items():
        members = {**policy, "audience": policy["audiences"]}
        del members["audiences"]
        rules = members.pop("claims", [])
        lines += [
            f"[policies.{name}]",
            *(f"{k} = {json.dumps(v)}" for k, v in members.items() if v not in (None, [])),
        ]
        lines += [f"claims = [{', '.join(map(rule_toml, rules))}]"] if rules else []
    return "\n".join(lines)


def rule_toml(rule: dict[str, Any]) -> str:
    """Return a literal rule about a claim as the policy file writes it."""
    values = rule["values"] if rule["test"] == "one_of" else rule["values"][0]
    return f"{{ at = {json.dumps(rule['at'])}, {rule['test']} = {json.dumps(values)} }}"


@pytest.mark.parametrize("key_set", ["issuer", "one-kid-for-two-keys"])
def test_our_verifier_decides_every_vector_rightly(tmp_path: Path, key_set: str) -> None:
    published, other = load("key-sets")[key_set], tmp_path / "other.json"
    (tmp_path / "jwks.json").write_text(json.dumps(published[ISSUER]))
    if OTHER_ISSUER in published:
        other.write_text(json.dumps(published[OTHER_ISSUER]))
    issuers = f'[issuers."{OTHER_ISSUER}"]\njwks_file = {json.dumps(str(other))}\n'
    with VerifierFolder(tmp_path).running(policies=issuers + policies_toml(), ready=None) as verifier:
        # Whether it is ready without keys of the other issuer does not matter here.
        header = {"kid": published[ISSUER]["keys"][0]["kid"]}
        wait_until(lambda: verifier.readiness() != 0, "its start")
        wait_until(lambda: verifier.ask(token=GOOD.token(time.time(), header)).status == 200, "its keys")
        url = f"http://127.0.0.1:{verifier.port}/verify/{{policy}}"
        done = suite(url, "--key-set", key_set, "--paths", "--identity", "--json")
    assert json.loads(done.stdout)["wrong"] == []
    assert done.returncode == 0


def test_the_suite_needs_no_package_but_cryptography() -> None:
    program = """
import sys
before = set(sys.modules)
import tests.vectors.__main__
names = {name.partition(".")[0] for name in sys.modules.keys() - before}
print(*(name for name in names if not name.startswith("_") and name not in sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    # cryptography imports bcrypt where it finds it.
    assert set(done.stdout.split()) - {"bcrypt"} == {"cryptography", "shared", "tests"}


class Lax(Handler):
    """An endpoint that accepts nearly all tokens, and fails in each other way that the suite distinguishes."""

    def on_request(self) -> None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        try:
            header, claims = (decode(part.encode()) for part in token.split(".")[:2])
        except ValueError:
            header = claims = b""
        if b"/etc/passwd" in header:
            self.close_connection = True
        elif b'"alg": "none"' in header:
            self.respond(500)
        else:
            self.respond(200 if scheme == "Bearer" and claims and b'"aud": [' not in claims else 401)


class Closed(Lax):
    """An endpoint that rejects everything."""

    def on_request(self) -> None:
        self.respond(401)


@pytest.fixture(scope="module")
def lax_report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    (expired,) = [one for one in load("12-time") if one["id"] == "exp-an-hour-ago"]
    added = tmp_path_factory.mktemp("vectors") / "of-a-test.json"
    added.write_text(json.dumps([expired]))
    with serving(Lax) as url:
        done = suite(f"{url}/", "--vectors", str(added), "--json")
    assert done.returncode == 1, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def verdicts(report: dict[str, Any], check: str) -> dict[str, str]:
    return {one["id"]: one["verdict"] for one in report["wrong"] if one["check"] == check}


def test_wrong_accepts_are_reported_with_their_source(lax_report: dict[str, Any]) -> None:
    (found,) = [one for one in lax_report["wrong"] if (one["check"], one["id"]) == ("04-algorithm", "hs256-pem")]
    assert (found["verdict"], found["severity"], found["status"]) == ("wrong accept", "must", 200)
    assert found["source"] == "RFC 8725 §3.1"
    assert set(verdicts(lax_report, "07-signature").values()) == {"wrong accept"}


def test_strict_wrong_accepts_are_counted_apart(lax_report: dict[str, Any]) -> None:
    counts = lax_report["checks"]["09-sender"]["wrong accept"]
    assert counts == {"must": 0, "strict": 8}


def test_wrong_rejects_failures_and_missing_responses_are_counted_apart(lax_report: dict[str, Any]) -> None:
    assert verdicts(lax_report, "11-audience")["aud-list"] == "wrong reject"
    assert verdicts(lax_report, "04-algorithm")["none-1-unsigned"] == "5xx"
    assert verdicts(lax_report, "06-key")["kid-10"] == "no response"


def test_a_token_that_has_just_expired_is_sent_at_its_moment(lax_report: dict[str, Any]) -> None:
    assert verdicts(lax_report, "12-time")["exp-end-of-leeway"] == "wrong accept"
    assert "age-not-demanded" not in verdicts(lax_report, "12-time")


def test_vectors_are_added_as_a_plain_file(lax_report: dict[str, Any]) -> None:
    assert verdicts(lax_report, "of-a-test") == {"exp-an-hour-ago": "wrong accept"}


def test_an_endpoint_that_rejects_everything_is_not_tested() -> None:
    with serving(Closed) as url:
        done = suite(f"{url}/")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the status 401 to a plain valid token" in done.stderr
