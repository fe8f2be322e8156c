"""The document of contract B lists every reason as the code does."""

import re

from shared.identity_headers import IDENTITY_HEADERS
from tests.support.processes import ROOT
from tests.support.raw_http import IDENTITY, parse
from verifier.decision.policy import Policy
from verifier.decision.reasons import RejectionReason
from verifier.subrequest import responses

_CONTRACT = (ROOT / "specs/001-register-login-verify/contracts/verify-subrequest.md").read_text(encoding="utf-8")
_POLICY = Policy("default", frozenset({"issuer"}), frozenset({"audience"}), scopes_all=frozenset({"admin"}))


def test_every_reason_is_documented_with_its_response() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (?:`(\w+)`)? ?\| \S", _CONTRACT, re.MULTILINE)
    assert [name for name, _, _ in rows] == [str(reason) for reason in RejectionReason]
    for name, status, error in rows:
        (response,) = parse(responses.error_response(RejectionReason(name), _POLICY, "gatepass"))
        assert response.status == int(status), name
        found = re.search(r'error="(\w+)"', response.challenge or "")
        assert (found[1] if found else "") == error, name


def test_every_identity_header_is_documented() -> None:
    headers = re.findall(r"^\| `(X-Auth-\w+)` \|", _CONTRACT, re.MULTILINE)
    assert tuple(headers) == IDENTITY_HEADERS
    assert tuple(header.lower() for header in headers) == IDENTITY
