"""The document of contract A agrees with the code."""

import re
from pathlib import Path
from typing import Final

from shared import jws
from shared.claims import InvalidClaimsError, read_claims
from verifier.explain import CHECKS

CONTRACT: Final = Path(__file__).parents[3] / "specs/001-register-login-verify/contracts/access-token.md"
ISSUED, _, READ = CONTRACT.read_text(encoding="utf-8").partition("## Checking")


def test_the_documented_checks_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| *(\d*) *\| *(\w*) *\|.*\| ([^|]*) \|$", READ.partition("Leeway is")[0], re.MULTILINE)
    results: dict[str, set[str]] = {}
    name = ""
    for number, check, reasons in rows:
        name = check or name
        assert not number or int(number) == len(results) + 1
        results.setdefault(name, set()).update(re.findall("`([a-z_]+)`", reasons))
    assert results == {name: {str(reason) for reason in reasons} for name, reasons in CHECKS}


CLAIMS: Final = {"iss": "i", "sub": "s", "aud": "a", "exp": 2, "iat": 1, "jti": "j", "client_id": "c", "scope": "s"}


def is_required(claim: str) -> bool:
    try:
        read_claims({name: value for name, value in CLAIMS.items() if name != claim})
    except InvalidClaimsError:
        return True
    return False


def test_the_required_claims_are_those_of_the_code() -> None:
    read_claims(CLAIMS)
    demanded = set(filter(is_required, CLAIMS))
    required = re.findall(r"^\| (`[^|]*) \|.*\| yes \|$", READ, re.MULTILINE)
    assert set(re.findall("`([a-z_]+)`", " ".join(required))) == demanded
    always = re.findall(r"^\| (`[^|]*) \| always \|", ISSUED, re.MULTILINE)
    assert set(re.findall("`([a-z_]+)`", " ".join(always))) == {*demanded, "scope", "status"}


def test_the_rejected_header_members_are_those_of_the_code() -> None:
    results = READ.partition("**Rejected in the header**")[2].partition("Other unknown")[0]
    assert set(re.findall("`([a-z0-9]+)`", results)) == jws.FORBIDDEN_HEADER_PARAMETERS
